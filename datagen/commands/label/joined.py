"""Several files of scores of the same images as one: what a file does not have of an image, its judges abstain of."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from datagen.commands.judge.origin import Origin
from datagen.commands.label.scores import Numbers, Scores
from datagen.errors import InputError

Places = NDArray[np.int64]
Key = tuple[str | None, ...]


@dataclasses.dataclass(frozen=True)
class Image:
    """One image as it was judged: where, by which prompt, and the digest of its file; `other` is another's prompt, and
    `worse` the damage of its copy."""

    path: str
    prompt: str
    digest: str | None
    other: str = ""
    by: str | None = None
    label: float = np.nan
    error: str | None = None
    worse: str = ""

    @property
    def key(self) -> Key:
        """What makes it the same in several files."""
        return self.path, self.prompt, self.digest


@dataclasses.dataclass(frozen=True)
class Column:
    """What one judge gave all images by one category: `values`, those `by_other` prompts and those of degraded copies
    (N,), NaN for nothing."""

    judge: str
    version: str
    category: str
    values: Numbers
    by_other: Numbers
    of_worse: Numbers


@dataclasses.dataclass(frozen=True)
class Duels:
    """What one judge that compares said: first image → second image → the probability that the first is better."""

    judge: str
    version: str
    said: dict[int, dict[int, float]]


@dataclasses.dataclass(frozen=True)
class Joined:
    """All images; `pairs` (P, 2) where they were judged two by two, else None. `judges` are named in order."""

    origin: Origin
    images: list[Image]
    columns: list[Column]
    duels: list[Duels]
    pairs: Places | None
    judges: list[dict[str, object]]
    notes: list[str]

    def spoken(self) -> NDArray[np.bool_]:
        """Of which images (N,) any judge said something."""
        found = np.zeros(len(self.images), bool)
        for column in self.columns:
            found |= ~np.isnan(column.values)
        for duels in self.duels:
            found[[place for place, met in duels.said.items() if not np.isnan(list(met.values())).all()]] = True
        return found


def join(files: Sequence[Scores]) -> Joined:
    """The files together; InputError where a judge is in two, or where two have no image in common."""
    _refuse_mixed(files)
    _refuse_repeated(files)
    place: dict[Key, int] = {}
    images: list[Image] = []
    at = []
    for file in files:
        own = _images(file)
        if place and not any(image.key in place for image in own):
            raise InputError(
                f"{files[0].file} and {file.file} have no image in common: give files of the same images, "
                f"{_of(files[0])} and {_of(file)} are not"
            )
        for image in own:
            if image.key not in place:
                place[image.key] = len(images)
                images.append(image)
            else:
                known = images[place[image.key]]
                images[place[image.key]] = dataclasses.replace(
                    known, other=known.other or image.other, worse=known.worse or image.worse
                )
        at.append(np.array([place[image.key] for image in own], np.int64))
    columns = [column for file, own in zip(files, at, strict=True) for column in _columns(file, own, images)]
    duels = [found for file, own in zip(files, at, strict=True) for found in _duels(file, own)]
    both = [own.reshape(-1, 2) for own in at] if files[0].origin.pairs else None
    pairs = None if both is None else np.unique(np.concatenate(both), axis=0)
    notes = [
        f"{len(images) - len(set(own.tolist()))} of {len(images)} images are not in {file.file}: its judges abstain"
        for file, own in zip(files, at, strict=True)
        if len(set(own.tolist())) < len(images)
    ]
    judges = [judge for file in files for judge in file.origin.judges]
    return Joined(files[0].origin, images, columns, duels, pairs, list(judges), notes)


def _of(file: Scores) -> str:
    return f"{file.origin.input} ({len(file.paths)} images)"


def _refuse_repeated(files: Sequence[Scores]) -> None:
    found: dict[str, Scores] = {}
    for file in files:
        for judge in (str(judge["judge"]) for judge in file.origin.judges):
            if judge in found:
                where = (
                    f"{found[judge].file} and {file.file}" if found[judge].file != file.file else f"{file.file}, twice"
                )
                raise InputError(f"the judge {judge} has scores in {where}: give each judge's once")
            found[judge] = file


def _refuse_mixed(files: Sequence[Scores]) -> None:
    pairs = [file for file in files if file.origin.pairs]
    if pairs and len(pairs) < len(files):
        single = next(file for file in files if not file.origin.pairs)
        raise InputError(
            f"{pairs[0].file} was judged with --pairs and {single.file} without: judge both alike, or give one"
        )


def _images(file: Scores) -> list[Image]:
    errors = [next((column[row] for column in file.errors if column[row]), None) for row in range(len(file.paths))]
    return [
        Image(*row)
        for row in zip(
            file.paths,
            file.prompts,
            file.digests,
            file.others,
            file.by,
            file.labels.tolist(),
            errors,
            file.worse,
            strict=True,
        )
    ]


def _columns(file: Scores, own: Places, images: Sequence[Image]) -> list[Column]:
    found = []
    asked = {number for number, other in enumerate(file.others) if other}
    for k, slot in enumerate(file.scored):
        values, by_other, of_worse = (np.full(len(images), np.nan) for _ in range(3))
        values[own] = file.values[:, k]
        of_worse[own] = file.of_worse[:, k]  # what a copy is degraded by follows from its image
        # Another prompt is the same for all judges of an image, or its answer is not used.
        same = [row for row in asked if file.others[row] == images[own[row]].other]
        by_other[own[same]] = file.by_other[same, k]
        found.append(Column(slot.judge, slot.version, slot.category, values, by_other, of_worse))
    return found


def _duels(file: Scores, own: Places) -> list[Duels]:
    found: dict[str, Duels] = {}
    for k, slot in enumerate(file.compared):
        duels = found.setdefault(slot.judge, Duels(slot.judge, slot.version, {}))
        for (one, other), value in zip(own.reshape(-1, 2).tolist(), file.duels[:, k].tolist(), strict=True):
            first, second = (one, other) if slot.place == 0 else (other, one)
            duels.said.setdefault(first, {})[second] = value
    return list(found.values())
