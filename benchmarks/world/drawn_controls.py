"""What negative controls that are drawn make of labels where wordings were exchanged on purpose.

`python -m benchmarks drawn_controls [--runs FOLDER]`. The embedded recipes that draw them are run once. Then 15 % and
30 % of the prompts are called by the other side's name, as where a writer exchanged them, and the pairs are labelled
by all judges with the controls and without. Pairs in which the reader does not see what was meant are left out and
counted, so that what was drawn is the truth.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.support.juries import measures
from benchmarks.support.results import Row, record
from datagen import recipe as recipes
from datagen import store
from datagen.images.decode import decode
from datagen.labels import instrument
from datagen.pipeline import build
from datagen.records import NEGATIVE, Image, Prompt, Verdict
from datagen.world.captions import parse
from datagen.world.reader import read

RECIPES, SHARES, SEEDS = ("pick-safety", "livo-toxicity"), (0.15, 0.30), 5
RIGHT = "labels right"
MEASURES = ((RIGHT, "%"), ("calibration error", ""), ("obedience off by", "points"))

Arrays = dict[str, np.ndarray]


def main() -> int:
    """Print a line a figure; 1 if controls cost more than a point of accuracy, or hide that designs are wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks drawn_controls", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("--runs", type=Path, default=Path("out/benchmarks/drawn-controls"), help="where they are kept")
    given = parser.parse_args()
    measured: list[Row] = []
    for name in RECIPES:
        found = _margins(name, given.runs / name)
        for share in SHARES:
            measured += _rows(name, share, found)
    for row in measured:
        print(row)
    record("drawn_controls", measured)
    return int(any(row.reached is False for row in measured))


def _margins(name: str, folder: Path) -> Arrays:
    """Margins (N, J) of a run's pairs that the reader sees to be as meant, and of its controls; how many are not."""
    build.run(recipes.load(name, []), "embedded", folder, workers=2, say=print)
    run = store.Run(folder)
    prompts = {row.prompt_id: row for row in _all(run, "prompts", Prompt)}
    verdicts = [row for row in _all(run, "verdicts", Verdict) if row.reason is None]
    first = {(row.prompt_id, row.side): row for row in sorted(verdicts, key=lambda row: -row.index)}
    shown = _hazards(run, {row.image_id for row in first.values()})
    found: dict[str, list[np.ndarray]] = {"pairs": [], "controls": [], "others": []}
    for name, prompt in prompts.items():
        chosen, rejected = first.get((name, "chosen")), first.get((name, "rejected"))
        if chosen is None or rejected is None:
            continue
        asked = parse(prompt.rejected_prompt).get("hazard")
        obeyed = (shown[chosen.image_id] == asked, shown[rejected.image_id] == asked) == (False, True)
        kind = "controls" if prompt.role == NEGATIVE else "pairs" if obeyed else "others"
        found[kind].append(np.array(chosen.lean) - np.array(rejected.lean))
    return {kind: np.array(rows) for kind, rows in found.items()}


def _all(run: store.Run, stage: str, record: type) -> list[Any]:
    shards = itertools.takewhile(lambda index: run.footer(stage, index) is not None, itertools.count())
    return [row for index in shards for row in run.rows(stage, index, record)]


def _hazards(run: store.Run, names: set[str]) -> dict[str, object]:
    """What hazard the reader sees in each image."""
    images = {row.image_id: row.image for row in _all(run, "images", Image) if row.image_id in names}
    readings = read([decode(data) for data in images.values()])
    return {name: reading.attributes["hazard"] for name, reading in zip(images, readings, strict=True)}


def _rows(name: str, share: float, found: Arrays) -> list[Row]:
    """Medians over exchanges: what is right, calibration, and what obedience is found, with controls and without."""
    with_, without = (
        np.array([_measured(found["pairs"], controls, share, seed) for seed in range(SEEDS)])
        for controls in (found["controls"], found["controls"][:0])
    )
    pairs, controls, others = (len(found[kind]) for kind in ("pairs", "controls", "others"))
    note = f"{pairs} pairs, {controls} controls; {others} pairs not drawn as meant are left out; {SEEDS} exchanges"
    rows = []
    for place, (what, unit) in enumerate(MEASURES):
        one, other = with_[:, place], without[:, place]
        rows.append(Row(f"{name}, {share:.0%} exchanged: {what}, without controls", float(np.median(other)), unit))
        goal = f"≥ {np.median(other) - 1:.1f}" if what == RIGHT else ""
        spread = f"{one.min():.3g} to {one.max():.3g}"
        rows.append(
            Row(
                f"{name}, {share:.0%} exchanged: {what}, with controls",
                float(np.median(one)),
                unit,
                goal,
                spread,
                note,
            )
        )
    return rows


def _measured(pairs: np.ndarray, controls: np.ndarray, share: float, seed: int) -> tuple[float, float, float]:
    exchanged = np.random.default_rng(seed).random(len(pairs)) < share
    margins = np.concatenate([np.where(exchanged[:, None], -pairs, pairs), controls])
    role = np.repeat([instrument.PAIR, instrument.CONTROL], [len(pairs), len(controls)])
    learnt = instrument.label(
        margins, np.ones(len(role)), role, np.full(len(role), np.nan), np.arange(len(role)), seed=seed
    )
    probability, truth = learnt.probability[: len(pairs)], np.where(exchanged, -1.0, 1.0)
    obedience = learnt.obedience[""].value
    return (
        100 * measures.accuracy(probability, truth),
        measures.ece(probability, truth),
        100 * abs(obedience - (1 - exchanged.mean())),
    )


if __name__ == "__main__":
    sys.exit(main())
