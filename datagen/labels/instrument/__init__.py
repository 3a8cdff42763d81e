"""Labels without labels: what the images were drawn from is a noisy label whose errors are not the judges' errors.

The method is told in docs/labels.md. `label` is all that other rooms call.
"""

from datagen.labels.instrument.estimate import label
from datagen.labels.instrument.found import Estimate, Judge, Labels
from datagen.labels.instrument.rows import CONTROL, NULL, PAIR, PLANTED

__all__ = ["CONTROL", "NULL", "PAIR", "PLANTED", "Estimate", "Judge", "Labels", "label"]
