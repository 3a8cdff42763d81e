"""What training learns from: pairs of images of one prompt, one of them preferred.

Columns of equal length; each image is held once, however many pairs they are in.
"""

from __future__ import annotations

import dataclasses
import hashlib

from training.data.images import Images


@dataclasses.dataclass(frozen=True)
class Pairs:
    """N pairs: texts, and the rows of `images` that hold the preferred and the other image.

    `principles` are "" where the data has none; the columns after `rejected` are None without such data: `partners`,
    the images of which any may stand for the violating one; `probabilities` that the labels are right, in [0, 1];
    `weights`, from 0; finite `rewards` of each image; the `captions` that each image was generated from. `dropped`
    counts the rows that held no preference, `unusable` those that were left out because they could not be read.
    """

    prompts: list[str]
    principles: list[str]
    images: Images
    chosen: list[int]
    rejected: list[int]
    partners: list[list[int]] | None = None
    probabilities: list[float] | None = None
    weights: list[float] | None = None
    chosen_rewards: list[float] | None = None
    rejected_rewards: list[float] | None = None
    chosen_captions: list[str] | None = None
    rejected_captions: list[str] | None = None
    dropped: int = 0
    unusable: int = 0

    def __len__(self) -> int:
        return len(self.prompts)

    def digest(self) -> str:
        """Hash of everything that training reads, 16 hex digits."""
        state = hashlib.sha256()
        for field in dataclasses.fields(self):
            column = getattr(self, field.name)
            if field.name in ("chosen", "rejected"):
                column = [self.images.hashes[row] for row in column]
            elif field.name == "partners" and column is not None:
                column = [[self.images.hashes[row] for row in rows] for rows in column]
            if isinstance(column, list):
                state.update(f"{field.name} {column}\n".encode())
        return state.hexdigest()[:16]
