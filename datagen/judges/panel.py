"""A panel of judges: each image is decoded once, and every judge is asked once for all images and texts of a chunk.

The only place where images are scored, for the stage `scores` and for `datagen judge`. What cannot be judged becomes
an answer with its error; where a judge abstains, the value is None.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from datagen import judges
from datagen.errors import ModelError
from datagen.images.decode import Unreadable, decode
from datagen.recipe import JudgeChoice

if TYPE_CHECKING:
    from PIL import Image

CHUNK = 32  # images in memory at a time
Entry = TypeVar("Entry")


@dataclasses.dataclass(frozen=True)
class Question:
    """An encoded image, the texts that it is judged against, as many for each of a chunk, or why it is not judged."""

    source: bytes | Path | None
    texts: tuple[str, ...]
    error: str | None = None


@dataclasses.dataclass(frozen=True)
class Answer:
    """One value for each text by each judge, by name; all None where there is an error or the judge abstained."""

    values: dict[str, list[float | None]]
    error: str | None


def load(choices: Iterable[JudgeChoice]) -> list[judges.Judge]:
    """The judges that were chosen, in order; ModelError for what is missing or wrong, before anything is asked."""
    found: dict[str, str] = {}
    panel = []
    for choice in choices:
        judge = judges.load(choice.name, choice.options)
        if judge.name in found:
            raise ModelError(f"{found[judge.name]} and {choice.name} are both called {judge.name!r}: leave one out")
        found[judge.name] = choice.name
        panel.append(judge)
    return panel


def of_the_world(panel: Iterable[judges.Judge]) -> str:
    """Which judges know the embedded model's pictures only, in words: what they say of others means nothing; or ""."""
    names = [judge.name for judge in panel if getattr(judge, "embedded", False)]
    return f"{' and '.join(names)} can judge the embedded model's images only" if names else ""


def chunks(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """A few at a time, as many as `ask` should be given."""
    iterator = iter(entries)
    while chunk := list(itertools.islice(iterator, CHUNK)):
        yield chunk


def ask(panel: Sequence[judges.Judge], questions: Sequence[Question]) -> list[Answer]:
    """What each judge says about each image and each of its texts, in order; ModelError for one that misbehaves."""
    results = [_picture(question) for question in questions]
    pictures: list[Image.Image] = [result for result in results if not isinstance(result, str)]
    texts = [question.texts for question, image in zip(questions, results, strict=True) if not isinstance(image, str)]
    scored = {judge.name: iter(_scores(judge, pictures, texts)) for judge in panel} if pictures else {}
    silence: list[float | None] = [None] * len(questions[0].texts) if questions else []
    return [
        Answer({judge.name: silence for judge in panel}, result)
        if isinstance(result, str)
        else Answer({name: next(values) for name, values in scored.items()}, None)
        for result in results
    ]


def _picture(question: Question) -> Image.Image | str:
    """The decoded image, or why there is none."""
    if question.error is not None or question.source is None:
        return question.error or "no image"
    try:
        return decode(question.source)
    except Unreadable as error:
        return str(error)


def _scores(
    judge: judges.Judge, pictures: list[Image.Image], texts: Sequence[tuple[str, ...]]
) -> list[list[float | None]]:
    """For each picture the judge's score against each of its texts, None where it abstains."""
    import numpy as np

    count = len(texts[0])
    flat = [of_picture[k] for k in range(count) for of_picture in texts]
    scores = np.asarray(judge.score(pictures * count, flat))
    if scores.shape != (len(flat),) or not np.issubdtype(scores.dtype, np.number) or np.isinf(scores).any():
        raise ModelError(
            f"the judge {judge.name} gave {scores.dtype} of shape {scores.shape} for {len(flat)} images; "
            "one finite number each is needed, NaN abstains"
        )
    return [[_or_none(float(value)) for value in row] for row in scores.reshape(count, len(pictures)).T]


def _or_none(value: float) -> float | None:
    """NaN is how a judge abstains; in a table it is null."""
    return None if math.isnan(value) else value
