"""A judge that looks at every picture and says nothing of it; it counts in the file that NULL_JUDGE_COUNTS names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from datagen import judges


class Judge:
    """0 for everything, as quick as a judge can be."""

    name, version, scale = "null", "1", 1.0
    facts = judges.Facts(code_license="Apache-2.0")

    def score(self, images: Sequence[Any], prompts: Sequence[str]) -> judges.Scores:
        """(N,) zeros."""
        if counts := os.environ.get("NULL_JUDGE_COUNTS"):
            with Path(counts).open("a") as file:
                file.write(f"{len(images)}\n")
        return np.zeros(len(images))
