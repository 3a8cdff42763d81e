"""The embedded jury: small judges of the classes that users know, in their published layouts, that can be wrong.

They are weak in honest ways: narrow, short of sight, trained for minutes, and taught by preferences of which a known
share is wrong. Two are tuned from one CLIP, as PickScore and HPSv2 are, so that they share some of their errors.
`python -m datagen.judges.jury` trains them.
"""

from __future__ import annotations

from pathlib import Path

from datagen import world

EMBEDDED = "embedded"  # as a judge's weights: those of the jury
LICENSE = "Apache-2.0 (ours)"


def folder(judge: str) -> Path:
    """Where the jury's weights for a judge lie."""
    return world.JURY / judge
