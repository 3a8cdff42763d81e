"""How far the judges of a run agree, and what else than its principle could tell a label, each in plain words.

Of a large run a part is looked at, the same one every time, so that memory and time stay bounded; how much is said.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from datagen.export import Finished
from datagen.export.parts import pictured
from datagen.images.decode import Unreadable

if TYPE_CHECKING:
    from datagen.labels.audit.published import Row
    from datagen.labels.resampling import Share

SHARDS = 200  # of a run that are looked at, evenly spread
MET = 100_000  # pairs of images that judges spoke of
LOOKED = 500  # labelled pairs whose pictures are decoded
PAIRS = ["pair_id", "prompt_id", "chosen_prompt", "rejected_prompt", "generator", "rejected_generator"]
FAR = ((0.8, "nearly always"), (0.6, "mostly"), (0.4, "moderately"), (0.2, "a little"), (0.0, "hardly"))


def lines(finished: Finished) -> list[str]:
    """What is to be said of the judges, then of shortcuts; none of what a run has no tables of."""
    return [*_agreement(finished), *_shortcuts(finished)]


def spread(count: int, most: int) -> list[int]:
    """So many of the numbers below `count`, evenly apart."""
    return list(range(count)) if count <= most else [place * count // most for place in range(most)]


def _agreement(finished: Finished) -> Iterator[str]:
    """Kappa and alpha of all judges."""
    from datagen.labels import resampling
    from datagen.labels.audit import agreement

    margins, prompts = _margins(finished)
    if len(finished.profile.judges) < 2 or not len(margins):
        return
    by_prompt = resampling.numbered(prompts)
    kappa, alpha = agreement.fleiss(margins, by_prompt), agreement.alpha_nominal(margins, by_prompt)
    known = kappa if kappa.count else alpha
    if not known.count:
        yield f"agreement: nothing can be told of {len(margins):,} pairs of images: the judges say too little of them"
        return
    named = (("Fleiss's kappa", kappa), ("Krippendorff's alpha", alpha))
    figures = ", ".join(f"{name} {_interval(one)}" for name, one in named if one.count)
    yield (
        f"agreement of {len(finished.profile.judges)} judges on {len(margins):,} pairs of images: {figures}. 1 is "
        f"always, 0 no more often than by chance: they agree {_far(known.value)}. Judges that share an error agree in "
        "it, so this is not how often they are right"
    )


def _margins(finished: Finished) -> tuple[Any, Any]:
    """(N, J) of pairs of images that meet, and (N,) their prompts."""
    from datagen.labels.audit import evidence
    from datagen.records import Score, schema

    run, names = finished.run, [judge.name for judge in finished.profile.judges]
    shards = spread(finished.shards, SHARDS)
    controls = evidence.controls(run) if run.is_done("prompts", 0) else pa.array([], pa.string())
    nothing = schema(Score).empty_table().select(list(evidence.SCORES))
    parts: list[tuple[Any, Any]] = [(np.empty((0, len(names))), np.empty(0, dtype=object))]
    for shard in shards:
        if not names or run.footer("verdicts", shard) is None or run.footer("images", shard) is None:
            continue
        own = evidence.of_shard(run, shard, nothing, names, controls)
        most = math.ceil(MET / len(shards))
        parts.append((own.margins[:most], own.prompts[:most]))
    return np.concatenate([one for one, _ in parts]), np.concatenate([other for _, other in parts])


def _shortcuts(finished: Finished) -> Iterator[str]:
    """The fact that predicts the winners best by itself, and all that are warned of."""
    from datagen.images.looks import Look, look
    from datagen.labels.audit import published, shortcuts

    rows: list[Row] = []
    looks: dict[str, Look] = {}
    sizes: dict[str, int] = {}
    for row, files in _looked(finished):
        rows.append(row)
        for name, data in files.items():
            sizes[name] = len(data)
            try:
                looks[name] = look(data)
            except Unreadable:
                continue  # `datagen audit` counts them
    if not rows:
        return
    worded = not finished.recipe.ranked
    found, warnings = published.shortcuts_of(published.Published(rows, looks, sizes, worded))
    told = [one for one in found if one["auc"] is not None and one["name"] != shortcuts.TOGETHER and not one["note"]]
    of = f"shortcuts, what could tell the winners of {len(rows):,} pairs by itself"
    if not told:
        yield f"{of}: too few prompts differ in anything, {shortcuts.LEAST} are needed to tell"
        return
    names = ", ".join(one["name"] for one in told)
    best = max(told, key=lambda one: float(one["auc"]))
    yield (
        f"{of}: of {names}, {best['name']} tells most, "
        f"AUC {best['auc']:.2f} [{best['low']:.2f}, {best['high']:.2f}]. 0.50 is chance, above "
        f"{shortcuts.LIMIT:g} is warned of: "
        + ("; ".join(warnings) + ". A model may learn that in the place of the principle" if warnings else "none is")
    )


def _looked(finished: Finished) -> Iterator[tuple[Row, dict[str, bytes]]]:
    """Some pairs of some shards, with the files of both pictures by name."""
    from datagen.labels.audit.published import Row

    shards = spread(finished.shards, min(SHARDS, LOOKED))
    for shard in shards:
        left = math.ceil(LOOKED / len(shards))
        for table in pictured.tables(finished.run, shard, [*PAIRS, *pictured.SIDES]):
            for row in table.slice(0, left).to_pylist():
                sides = [row[side]["path"] for side in pictured.SIDES]
                texts = [row["chosen_prompt"], row["rejected_prompt"]]
                drawn = [row["generator"], row["rejected_generator"] or row["generator"]]
                own = Row(row["pair_id"], row["prompt_id"], "", "", "", *sides, *texts, *drawn)
                yield own, {row[side]["path"]: row[side]["bytes"] for side in pictured.SIDES}
            left -= min(left, len(table))
            if not left:
                break


def _far(value: float) -> str:
    return next((word for least, word in FAR if value >= least), "less than by chance")


def _interval(one: Share) -> str:
    known = not math.isnan(one.low)
    return f"{one.value:.2f}" + (f" [{one.low:.2f}, {one.high:.2f}]" if known else " (of one prompt, no interval)")
