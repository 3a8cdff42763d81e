"""What judges said, as arrays: a margin of each judge for each two images that meet, and duels in both orders.

Which two meet follows from the images alone and never from the scores: two wordings' images of one index, and each
candidate with the next. What a rule chose by the judges' own scores would make them agree.
"""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from datagen.labels import aggregate, axes
from datagen.labels.aggregate import Reading
from datagen.labels.resampling import Numbers

AXES = (axes.ALIGNED, axes.VIOLATING, axes.KEEPS, axes.BREAKS, axes.IMAGE, axes.QUESTION)
IMAGES = ("image_id", "prompt_id", "side", "index", "generator", "error")
SCORES = ("image_id", "prompt_id", "judge", "axis", "value", "opponent")


@dataclasses.dataclass(frozen=True)
class Evidence:
    """N meetings of J judges: prompt ids (N,), margins (N, J), NaN where a judge did not speak of both images, whether
    it was asked (N, J), and the generators of both images (N, 2).

    Of judges that compare, `ahead` and `behind` (N, J) are P(first beats second) and P(second beats first), NaN of
    others.
    """

    names: tuple[str, ...]
    prompts: NDArray[Any]
    margins: Numbers
    asked: NDArray[np.bool_]
    generators: NDArray[Any]
    ahead: Numbers
    behind: Numbers


def joined(parts: Sequence[Evidence]) -> Evidence:
    """The meetings of several shards of the same judges, one or more."""
    arrays = [field.name for field in dataclasses.fields(Evidence) if field.name != "names"]
    return Evidence(parts[0].names, **{name: np.concatenate([getattr(p, name) for p in parts]) for name in arrays})


def of_tables(images: pa.Table, scores: pa.Table, readings: Mapping[str, Reading]) -> Evidence:
    """The meetings of a shard's images, from its columns IMAGES and SCORES; of several scores the first counts."""
    met = _meetings(images)
    names = tuple(readings)
    keys = _keys(images, "image_id")
    places = {key: place for place, key in enumerate(dict.fromkeys(keys))}
    values, asked = _values(scores, names, places)
    leans = _leans(values, list(readings.values()))
    first = np.array([places[keys[one]] for one, _ in met], dtype=np.int64)
    second = np.array([places[keys[other]] for _, other in met], dtype=np.int64)
    ahead, behind = _duels(scores, names, [(keys[one], keys[other]) for one, other in met])
    duels = np.vectorize(_log_odds, otypes=[float])(ahead, behind) if ahead.size else ahead
    parts = np.stack([leans[first] - leans[second], duels])
    spoken = ~np.isnan(parts)
    prompts, generators = (images[name].to_pylist() for name in ("prompt_id", "generator"))
    return Evidence(
        names,
        np.array([prompts[one] for one, _ in met], dtype=object),
        np.where(spoken.any(0), np.where(spoken, parts, 0.0).sum(0), np.nan),
        asked[first] | asked[second],
        np.array([(generators[one], generators[other]) for one, other in met], dtype=object).reshape(-1, 2),
        ahead,
        behind,
    )


def _meetings(images: pa.Table) -> list[tuple[int, int]]:
    """The rows of each two images that meet."""
    rows = images.select(["prompt_id", "side", "index", "error", "image_id"]).to_pylist()
    own: dict[str, list[int]] = collections.defaultdict(list)
    for place, row in enumerate(rows):
        if row["error"] is None:
            own[row["prompt_id"]].append(place)
    met: list[tuple[int, int]] = []
    for mine in own.values():
        sides = {(rows[place]["side"], rows[place]["index"]): place for place in mine}
        met += [(one, sides["rejected", k]) for (side, k), one in sides.items() if side == "chosen" and _is(sides, k)]
        ring = [place for place in mine if rows[place]["side"] == "candidate"]
        met += zip(ring, ring[1:], strict=False)
        met += [(ring[-1], ring[0])] if len(ring) > 2 else []
    return [(one, other) for one, other in met if rows[one]["image_id"] != rows[other]["image_id"]]


def _is(sides: Mapping[tuple[str, int], int], index: int) -> bool:
    return ("rejected", index) in sides


def _keys(table: pa.Table, image: str) -> list[str]:
    """What an image of a prompt is called: one image may be of several prompts."""
    found: list[str] = pc.binary_join_element_wise(table["prompt_id"], table[image], " ").to_pylist()
    return found


def _values(scores: pa.Table, names: Sequence[str], places: Mapping[str, int]) -> tuple[Numbers, NDArray[np.bool_]]:
    """(I, J, AXES) values of each image, and whether a judge was asked about it (I, J)."""
    image = pc.index_in(
        pc.binary_join_element_wise(scores["prompt_id"], scores["image_id"], " "), pa.array(list(places), pa.string())
    )
    judge = pc.index_in(scores["judge"], pa.array(names, pa.string()))
    axis = pc.index_in(scores["axis"], pa.array(AXES))
    value = scores["value"].cast(pa.float64()).to_numpy(zero_copy_only=False)
    i, j, a = (pc.fill_null(codes, -1).to_numpy() for codes in (image, judge, axis))
    values = np.full((len(places), len(names), len(AXES)), np.nan)
    asked = np.zeros((len(places), len(names)), dtype=bool)
    known = (i >= 0) & (j >= 0)
    settled = pc.equal(scores["axis"], axes.SETTLED).to_numpy(zero_copy_only=False).astype(bool)
    asked[i[known & ~settled], j[known & ~settled]] = True
    rows = np.flatnonzero(known & (a >= 0))[::-1]  # the first of several is written last
    values[i[rows], j[rows], a[rows]] = value[rows]
    return values, asked


def _leans(values: Numbers, readings: Sequence[Reading]) -> Numbers:
    """(I, J) log-odds by which each judge leans towards each image, as `aggregate.lean` has it; NaN: it abstained."""
    scale = np.array([reading.scale for reading in readings])
    sign = np.array([1.0 if reading.higher_is_better else -1.0 for reading in readings])
    aligned, violating, keeps, breaks, image, question = (values[..., axis] for axis in range(len(AXES)))
    texts = np.stack([aligned - violating, keeps - breaks])
    count = (~np.isnan(texts)).sum(0)
    by_texts = np.where(count > 0, np.nansum(texts, 0) / np.maximum(count, 1), np.nan)
    asked = np.full(question.shape, np.nan)
    spoken = ~np.isnan(question)
    asked[spoken] = [aggregate.logit(p) for p in question[spoken]]
    parts = np.stack([scale * by_texts, sign * scale * image, asked])
    found: Numbers = np.where((~np.isnan(parts)).any(0), np.nansum(parts, 0), np.nan)
    return found


def _duels(scores: pa.Table, names: Sequence[str], met: Sequence[tuple[str, str]]) -> tuple[Numbers, Numbers]:
    """(N, J) P(first beats second) and P(second beats first) of those that meet."""
    both = np.full((2, len(met), len(names)), np.nan)
    rows = scores.filter(pc.equal(scores["axis"], axes.BEATS))
    if rows.num_rows:
        said = zip(
            rows["judge"].to_pylist(), _keys(rows, "image_id"), _keys(rows, "opponent"), rows["value"].to_pylist(),
            strict=True,
        )  # fmt: skip
        found = {(judge, one, other): value for judge, one, other, value in said if value is not None}
        for row, (one, other) in enumerate(met):
            for column, name in enumerate(names):
                both[0, row, column] = found.get((name, one, other), math.nan)
                both[1, row, column] = found.get((name, other, one), math.nan)
    return both[0], both[1]


def _log_odds(ahead: float, behind: float) -> float:
    """Of both orders together, so that a liking for a place is taken out; NaN if one is missing."""
    if math.isnan(ahead) or math.isnan(behind):
        return math.nan
    return (aggregate.logit(ahead) - aggregate.logit(behind)) / 2
