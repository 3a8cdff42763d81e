"""Using what was trained: the value guide, sampling, and which principle a prompt needs."""

from training.inference.value_guide import ValueGuide

__all__ = ["ValueGuide"]
