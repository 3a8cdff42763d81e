"""Judges as a service: what `datagen serve` answers over HTTP, in the shape that online RL trainers ask for."""

from datagen.commands.serve.call import Options, serve

__all__ = ["Options", "serve"]
