"""The embedded jury: small judges of the classes that users know, in their published layouts, that can be wrong.

They are weak in honest ways: narrow, short of sight, trained for minutes, and taught by preferences of which a known
share is wrong. Two are tuned from one CLIP, as PickScore and HPSv2 are, so that they share some of their errors.
`python -m datagen.judges.jury` trains them.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from datagen import world
from datagen.judges.protocol import Facts

EMBEDDED = "embedded"  # as a judge's weights: those of the jury
LICENSE = "Apache-2.0 (ours)"


def folder(judge: str) -> Path:
    """Where the jury's weights for a judge lie."""
    return world.JURY / judge


def facts(published: Facts) -> Facts:
    """What a member of the jury says of itself, from what its published namesake says."""
    return dataclasses.replace(published, weights_license=LICENSE, judges_world_only=True)
