"""What a panel is asked, and what it says: plain data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    Values = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Question:
    """An image, encoded or decoded, with the texts it is scored against and the questions it is asked, or why not.

    All of a chunk have as many texts, and as many questions, None where there is nothing to ask. `dear` are the places
    of the texts that are worth asking a dear judge about, `free` those that only judges who read embeddings are asked
    about, to whom one more text costs no look at the image. `embeddings` are those that are known, by the identity of
    their backbone.
    """

    source: bytes | Path | Image | None
    texts: tuple[str | None, ...]
    error: str | None = None
    questions: tuple[str | None, ...] = ()
    dear: tuple[int, ...] = (0,)
    embeddings: Mapping[str, NDArray[np.float32]] = dataclasses.field(default_factory=dict)
    free: tuple[int, ...] = ()


class Answer(NamedTuple):
    """What each judge says of one image, by name; NaN where it abstained, and everywhere if there is an error.

    `scores` are (texts, columns); of a judge that reads no text (1, columns). `replies` are (questions,), `embeddings`
    (D,) by backbone. `failures` say why a judge could not be read.
    """

    scores: Mapping[str, Values]
    replies: Mapping[str, Values]
    embeddings: Mapping[str, NDArray[np.float32]]
    error: str | None = None
    failures: Mapping[str, str] = MappingProxyType({})

    def error_of(self, judge: str) -> str | None:
        """Why there is nothing of a judge, None if it spoke, or abstained."""
        return self.error or self.failures.get(judge)


@dataclasses.dataclass(frozen=True)
class Duel:
    """Two encoded images and the text by which they are compared."""

    first: bytes
    second: bytes
    text: str


@dataclasses.dataclass(frozen=True)
class Compared:
    """The probability that the image that is shown first beats the other; NaN, and why, where there is none."""

    p: float
    failure: str | None = None


# What each judge that compares says of two images, by name: of the first when it is shown first, then of the second.
Met = dict[str, tuple[Compared, Compared]]
