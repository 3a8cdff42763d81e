"""Rebuilds every weight of the embedded world from nothing: `python -m datagen.world.train`."""
