"""What a file of scores says of the call that wrote it: where its images are, and by whom they were judged.

It stands in the file's metadata, so that `datagen label` finds the images again.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

KEY = b"datagen.judge"


@dataclasses.dataclass(frozen=True)
class Origin:
    """`input`, a path from the root or a name on the hub, with the options by which it was read: `labels` is a file of
    labels beside it, `as_pairs` whether two images a row were asked for.

    `pairs` says that the rows are of two images, `slots` are the rows of each image, or of each pair, `judges` the
    judges' own names, and the names and options that they were chosen by.
    """

    input: str
    prompts: str | None
    labels: str | None
    image_column: str | None
    prompt_column: str | None
    as_pairs: bool
    pairs: bool
    slots: int
    judges: list[dict[str, Any]]

    def as_metadata(self) -> dict[bytes, bytes]:
        """For the schema of the file."""
        return {KEY: json.dumps(dataclasses.asdict(self), sort_keys=True).encode()}


def of_metadata(metadata: Mapping[bytes, bytes] | None) -> Origin | None:
    """What a file says; None of one that says nothing that we understand."""
    try:
        return Origin(**json.loads((metadata or {})[KEY]))
    except (KeyError, ValueError, TypeError):
        return None
