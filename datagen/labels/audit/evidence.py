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

from datagen import store
from datagen.labels import axes
from datagen.labels.resampling import Numbers
from datagen.records import NEGATIVE

IMAGES = ("image_id", "prompt_id", "side", "index", "generator", "error")
LEANS = ("image_id", "prompt_id", "lean")
SCORES = ("image_id", "prompt_id", "judge", "axis", "value", "opponent")
MORE = (axes.SETTLED, axes.BEATS)  # the axes of which scores say what no lean does


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


def controls(run: store.Run) -> pa.Array:
    """The prompts of negative controls, of which neither image is better: no judge can be right or wrong there."""
    parts = run.tables("prompts", 0, ["prompt_id", "role"])
    of_controls = pa.concat_tables(part.filter(pc.equal(part["role"], NEGATIVE)) for part in parts)
    return of_controls["prompt_id"].combine_chunks()


def of_shard(run: store.Run, shard: int, scores: pa.Table, names: Sequence[str], left_out: pa.Array) -> Evidence:
    """The meetings of a finished shard of a run, without those of some prompts."""
    images, leans = (
        run.table(stage, shard, list(columns)) for stage, columns in (("images", IMAGES), ("verdicts", LEANS))
    )
    return of_tables(images.filter(pc.invert(pc.is_in(images["prompt_id"], left_out))), leans, scores, names)


def of_tables(images: pa.Table, leans: pa.Table, scores: pa.Table, names: Sequence[str]) -> Evidence:
    """The meetings of a shard's images, from its columns IMAGES, LEANS and SCORES.

    `lean` are log-odds by which each of the judges `names` leans towards an image, NaN where it abstained: what labels
    are made of. Of the scores, those of the axes MORE are read.
    """
    met = _meetings(images)
    keys = keys_of(images, "image_id")
    places = {key: place for place, key in enumerate(dict.fromkeys(keys))}
    by_image = _leans(leans, places, len(names))
    asked = _asked(scores, names, places)
    first = np.array([places[keys[one]] for one, _ in met], dtype=np.int64)
    second = np.array([places[keys[other]] for _, other in met], dtype=np.int64)
    ahead, behind = _duels(scores, names, [(keys[one], keys[other]) for one, other in met])
    prompts, generators = (images[name].to_pylist() for name in ("prompt_id", "generator"))
    return Evidence(
        tuple(names),
        np.array([prompts[one] for one, _ in met], dtype=object),
        by_image[first] - by_image[second],
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


def keys_of(table: pa.Table, image: str) -> list[str]:
    """What an image of a prompt is called: one image may be of several prompts."""
    found: list[str] = pc.binary_join_element_wise(table["prompt_id"], table[image], " ").to_pylist()
    return found


def _leans(table: pa.Table, places: Mapping[str, int], judges: int) -> Numbers:
    """(I, J) of each image."""
    found = np.full((len(places), judges), np.nan)
    rows = np.array([places.get(key, -1) for key in keys_of(table, "image_id")], dtype=np.int64)
    said = pc.list_flatten(table["lean"]).to_numpy().reshape(-1, judges)
    found[rows[rows >= 0]] = said[rows >= 0]
    return found


def _asked(scores: pa.Table, names: Sequence[str], places: Mapping[str, int]) -> NDArray[np.bool_]:
    """(I, J) whether a judge was asked about an image: all were that were not spared it."""
    found = np.ones((len(places), len(names)), dtype=bool)
    spared = scores.filter(pc.equal(scores["axis"], axes.SETTLED))
    columns = {name: column for column, name in enumerate(names)}
    for key, judge in zip(keys_of(spared, "image_id"), spared["judge"].to_pylist(), strict=True):
        if key in places and judge in columns:
            found[places[key], columns[judge]] = False
    return found


def _duels(scores: pa.Table, names: Sequence[str], met: Sequence[tuple[str, str]]) -> tuple[Numbers, Numbers]:
    """(N, J) P(first beats second) and P(second beats first) of those that meet."""
    both = np.full((2, len(met), len(names)), np.nan)
    rows = scores.filter(pc.equal(scores["axis"], axes.BEATS))
    if rows.num_rows:
        said = zip(
            rows["judge"].to_pylist(), keys_of(rows, "image_id"), keys_of(rows, "opponent"), rows["value"].to_pylist(),
            strict=True,
        )  # fmt: skip
        found = {(judge, one, other): value for judge, one, other, value in said if value is not None}
        for row, (one, other) in enumerate(met):
            for column, name in enumerate(names):
                both[0, row, column] = found.get((name, one, other), math.nan)
                both[1, row, column] = found.get((name, other, one), math.nan)
    return both[0], both[1]
