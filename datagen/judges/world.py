"""The truth of the embedded world, by its exact reader: labels that it makes are right by construction.

So it is not of the jury, and what others say is compared with it. A score is the share of what a text states that the
picture shows; it abstains on texts that state nothing about the world. Of other pictures it says nothing that counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from datagen import judges

if TYPE_CHECKING:
    from PIL import Image


class Judge:
    """Reads each picture once, whatever the number of texts; it needs no weights."""

    name = "world"
    version = "1"
    scale = 20.0  # it is nearly always right: one attribute of eight (m = 1/8 each way) is log-odds 2.5 and more
    facts = judges.Facts(code_license="Apache-2.0", absolute=True, judges_world_only=True)

    def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> judges.Scores:
        """(N,) float64 in 0…1: stated attributes shown / stated attributes; NaN where the text states none."""
        import numpy as np

        from datagen.world import captions, reader

        unique, places = judges.distinct(images)
        readings = reader.read(unique)
        shares = [
            captions.match(readings[place].attributes, captions.parse(prompt))
            for place, prompt in zip(places, prompts, strict=True)
        ]
        return np.array(shares, dtype=np.float64)
