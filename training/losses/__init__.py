"""The losses, one pure function each, from per-sample errors to a per-sample loss and margin.

Adding a loss is adding one function to a file here, or one file: this folder is the registry, whatever lies in it is
imported. `@loss(...)` registers a function by name with what it needs and its default settings; its keyword arguments
become command-line options. Everything is computed in float64; nothing is averaged over a batch.
"""

import importlib
import pkgutil

from training.losses.inputs import Errors, Outcome, Ranked, Similarities, Unpaired
from training.losses.registry import LOSSES, Loss, Need

__all__ = ["LOSSES", "Errors", "Loss", "Need", "Outcome", "Ranked", "Similarities", "Unpaired"]

for _file in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_file.name}")
