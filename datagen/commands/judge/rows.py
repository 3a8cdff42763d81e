"""What is written of each image, or of each pair: the same rows in the same order for all, so that they are a matrix.

Of a pair come both images' scores first, and then what is said of the two by judges that compare.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import itertools
import math
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from datagen import records, safety
from datagen.commands.judge.copies import shown, to_copy
from datagen.judges import Judge, panel
from datagen.tables.items import Item

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Unit = tuple[Item, ...]  # an image, or both of a pair
FAST = ":fast"  # ends the version of a judge whose JPEGs are decoded at a part of their size
refusal = functools.lru_cache(maxsize=4096)(safety.refusal)  # several images of a prompt follow one another


@dataclasses.dataclass(frozen=True)
class Judged:
    """What one judge says of one image, or of two; the columns of the file that is written."""

    path: str
    prompt: str  # empty where it was missing or refused
    judge: str
    judge_version: str
    value: float | None  # None: the judge abstained, or there is an error
    error: str | None
    category: str = ""  # of a judge with several scores an image
    opponent: str = ""  # the image that is shown second, which `value` is the probability to beat
    digest: str | None = None  # of the image's file, 16 hexadecimal digits of its SHA-256; None where it is not there
    other: str = ""  # the prompt of another image, where the judge was asked about that as well
    other_value: float | None = None  # what it said of this image by that prompt
    worse: str = ""  # what a copy of this image was degraded by, where the judge was shown one
    worse_value: float | None = None  # what it said of that copy


SCHEMA = records.schema(Judged)


@dataclasses.dataclass(frozen=True)
class Slot:
    """One of the rows that each unit has: whose it is, and of which of its images."""

    judge: str
    version: str
    category: str = ""
    place: int = 0
    beats: bool = False


@dataclasses.dataclass(frozen=True)
class Work:
    """Who is asked about what, and in which rows it is written. `alone`: nobody reads a prompt.

    Judges of embeddings are asked about a prompt of another image as well; with `planted` all that read prompts. Where
    some do not, all are then shown degraded copies of `copied` of the images, a share.
    """

    judges: Sequence[Judge]
    pairs: bool = False
    fast: bool = False
    planted: bool = False
    copied: float = 1.0

    @functools.cached_property
    def slots(self) -> list[Slot]:
        """The rows of a unit."""
        versions = {judge.name: judge.version + FAST * self.fast for judge in self.judges}
        found = [
            Slot(judge.name, versions[judge.name], category, place)
            for place in range(self.size)
            for judge in panel.able(self.judges, "score")
            for category in judge.facts.categories or ("",)
        ]
        duels = panel.able(self.judges, "compare") if self.pairs else []
        return found + [Slot(judge.name, versions[judge.name], "", place, True) for judge in duels for place in (0, 1)]

    @property
    def size(self) -> int:
        """Images of a unit."""
        return 2 if self.pairs else 1

    @functools.cached_property
    def alone(self) -> bool:
        """Whether an image without a prompt can be judged."""
        return not any(judge.facts.reads_text for judge in self.judges)

    @functools.cached_property
    def asks_others(self) -> bool:
        """Whether anybody is asked about prompts of other images."""
        readers = [judge for judge in panel.able(self.judges, "score") if judge.facts.reads_text]
        return bool(readers) and (self.planted or bool(panel.backbones(readers)))

    @functools.cached_property
    def copies(self) -> bool:
        """Whether judges are shown degraded copies: of other prompts, one that reads none has nothing to say."""
        return self.planted and any(not judge.facts.reads_text for judge in panel.able(self.judges, "score"))


@dataclasses.dataclass(frozen=True)
class Told:
    """What was said of a few units: their rows; and of each image its prompt, None for one that is missing or refused,
    why it was not judged, its file's digest, and its embeddings by network."""

    rows: pa.Table
    items: list[Item]
    prompts: list[str | None]
    errors: list[str | None]
    digests: list[str | None]
    embeddings: list[Mapping[str, NDArray[np.float32]]]


def stream(work: Work, items: Iterator[Item]) -> Generator[Told, None, None]:
    """Judge images as they come; threads decode those that come next meanwhile."""
    waiting = deque[tuple[list[Item], list[str | None], dict[int, tuple[str, panel.Question]]]]()

    def questions() -> Iterator[list[panel.Question]]:
        units = zip(*[items] * work.size, strict=True)
        while chunk := list(itertools.islice(units, panel.CHUNK // work.size)):
            images = [item for unit in chunk for item in unit]
            left = [dataclasses.replace(item, source=None) for item in images]  # what was read is let go
            asked = [_question(work, item) for item in images]
            digests = [item.digest or digest(item.source) for item in images]
            waiting.append((left, digests, to_copy(asked, digests, work.copied) if work.copies else {}))
            yield asked

    with contextlib.closing(_answers(work, questions())) as answers:
        for said, met in answers:
            left, digests, copied = waiting.popleft()
            yield _told(work, left, digests, said, met, shown(work.judges, copied))


def _answers(
    work: Work, questions: Iterator[list[panel.Question]]
) -> Generator[tuple[list[panel.Answer], list[panel.Met]], None, None]:
    if work.pairs:
        yield from panel.stream_pairs(work.judges, questions, fast=work.fast)
    else:
        for said in panel.stream(work.judges, questions, fast=work.fast):
            yield said, []


def _question(work: Work, item: Item) -> panel.Question:
    """What the judges are asked of an image. One without a prompt can be judged by itself alone."""
    there = item.source is not None or bool(item.embeddings)
    reason = _refused(item) or (None if work.alone and there else item.error)
    texts = (item.prompt or "", *([item.other] if work.asks_others else []))
    places = tuple(range(len(texts))) if work.planted else (0,)
    return panel.Question(
        item.source, texts, reason, dear=places, free=() if work.planted else (1,), embeddings=item.embeddings
    )


def usable(prompt: str) -> bool:
    """Whether a prompt may be asked about."""
    return refusal(prompt) is None


def _refused(item: Item) -> str | None:
    return None if item.prompt is None else refusal(item.prompt)


def digest(source: Path | bytes | None) -> str | None:
    """16 hexadecimal digits of the SHA-256 of an image's file; None of one that is not there."""
    try:
        data = source.read_bytes() if isinstance(source, Path) else source
    except OSError:
        return None
    return None if data is None else hashlib.sha256(data).hexdigest()[:16]


def _told(
    work: Work,
    items: list[Item],
    digests: list[str | None],
    said: list[panel.Answer],
    met: list[panel.Met],
    copied: Mapping[int, tuple[str, panel.Answer]],
) -> Told:
    units = range(0, len(items), work.size)
    values, errors, others = [], [], []
    worse: list[tuple[str, float | None]] = []
    for at in units:
        own = said[at : at + work.size]
        for value, error, other in _said(work, own, met[at // 2] if met else {}):
            values.append(None if math.isnan(value) else value)
            errors.append(error)
            others.append(None if math.isnan(other) else other)
        worse += _of_copies(work, [copied.get(at + place) for place in range(work.size)])
    places = [(at + slot.place, at + 1 - slot.place if slot.beats else None) for at in units for slot in work.slots]
    prompts = [None if _refused(item) else item.prompt for item in items]
    count = len(units)
    columns = {
        "path": [items[own].path for own, _ in places],
        "prompt": [prompts[own] or "" for own, _ in places],
        "judge": [slot.judge for slot in work.slots] * count,
        "judge_version": [slot.version for slot in work.slots] * count,
        "value": values,
        "error": errors,
        "category": [slot.category for slot in work.slots] * count,
        "opponent": ["" if rival is None else items[rival].path for _, rival in places],
        "digest": [digests[own] for own, _ in places],
        "other": [
            "" if value is None else items[own].other or "" for value, (own, _) in zip(others, places, strict=True)
        ],
        "other_value": others,
        "worse": [kind for kind, _ in worse],
        "worse_value": [value for _, value in worse],
    }
    rows = pa.table(columns, schema=SCHEMA)
    reasons, made = [answer.error for answer in said], [answer.embeddings for answer in said]
    return Told(rows, items, prompts, reasons, digests, made)


def _of_copies(work: Work, copied: Sequence[tuple[str, panel.Answer] | None]) -> Iterator[tuple[str, float | None]]:
    """For each row of a unit the damage of the copy that its judge was shown, and what it gave it."""
    seen: dict[tuple[str, int], int] = {}
    for slot in work.slots:
        column = seen[slot.judge, slot.place] = seen.get((slot.judge, slot.place), -1) + 1
        of = None if slot.beats else copied[slot.place]
        value = math.nan if of is None else float(of[1].scores[slot.judge][0][column])
        yield ("", None) if of is None or math.isnan(value) else (of[0], value)


def _said(work: Work, answers: Sequence[panel.Answer], met: panel.Met) -> Iterator[tuple[float, str | None, float]]:
    """The value of each row of a unit, in order, NaN where there is none; the error; the value by another prompt."""
    for answer in answers:
        for judge in panel.able(work.judges, "score"):
            error, scores = answer.error_of(judge.name), answer.scores[judge.name]
            other = scores[1] if len(scores) > 1 else [math.nan] * len(scores[0])
            for value, by_other in zip(scores[0], other, strict=True):
                yield float(value), error, float(by_other)
    for slot in work.slots:
        if slot.beats:
            compared = met[slot.judge][slot.place]
            yield compared.p, compared.failure, math.nan
