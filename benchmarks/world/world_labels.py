"""How far a run's own probabilities can be trusted in the embedded world, where wordings are exchanged on purpose.

`python -m benchmarks world_labels [--draws FOLDER]`. The pairs are those of `jury`: real draws from the recipes'
wordings, of which 15 % and 30 % of the prompts were exchanged before drawing. Each recipe is labelled by itself, as a
run is, by `labels.instrument` from the embedded jury's margins and from what was drawn from what, without a label.
The truth is what the attribute reader sees; pairs in which it sees no difference are left out of the figures, not of
what is learnt. Beside it: the majority, Dawid and Skene's model, the sum of log-odds as the judges state them, and
the best judge alone.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.support.juries import measures, rules
from benchmarks.support.results import Row, percent, record
from benchmarks.support.world_pairs import EXCHANGED, RECIPES, Scene, scenes
from benchmarks.world import jury
from datagen import recipe as recipes
from datagen.labels import instrument

SHARES = (EXCHANGED, 0.30)
SURE = 0.95
PROMISED = (0.5, 0.7, 0.85, 0.95, 0.99, 1.0)  # edges of what docs/draw_labels.py draws
SEED = 77
Arrays = dict[str, np.ndarray]


def main() -> int:
    """Print a table a share; 1 if a figure misses its goal."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks world_labels", description=__doc__, allow_abbrev=False)
    parser.add_argument("--draws", type=Path, default=Path("out/benchmarks/jury"), help="where the pictures are kept")
    parser.add_argument("--scenes", type=int, default=250, help="of each recipe; four pairs each")
    parser.add_argument("--keep", type=Path, help="an .npz to keep the judges' margins in, or to read them from")
    given = parser.parse_args()
    names, found = _margins(given.draws, given.scenes, given.keep)
    measured: list[Row] = []
    for share in SHARES:
        measured += _table(names, _exchanged(found, share), share)
    record("world_labels", measured)
    return 0 if all(row.reached is not False for row in measured) else 1


def _margins(draws: Path, each: int, keep: Path | None) -> tuple[list[str], Arrays]:
    """The judges' names, and of each pair: margins, truth (0.5: no difference), prompt, recipe, stratum, exchanged."""
    if keep is not None and keep.exists():
        kept = dict(np.load(keep))
        return [str(name) for name in kept.pop("names")], kept
    drawn = scenes(draws, each)
    names, margins = jury.margins(drawn, list(recipes.load(jury.PLAN, []).profile("embedded").judges))
    truth, prompts, _ = jury.truth(drawn)
    found = {"margins": margins, "truth": truth, "prompt": prompts, **_of_scenes(drawn)}
    if keep is not None:
        np.savez(keep, names=np.array(names), **found)  # type: ignore[arg-type]  # the stub takes no array by name
    return names, found


def _of_scenes(drawn: list[Scene]) -> Arrays:
    rows: list[tuple[str, str, bool]] = []
    for scene in drawn:
        stratum = f"{scene.prompt.principle_id} {scene.prompt.role}"
        rows += [(scene.recipe, stratum, scene.exchanged)] * len(list(scene.pairs()))
    return {
        name: np.array(column)
        for name, column in zip(("recipe", "stratum", "exchanged"), zip(*rows, strict=True), strict=True)
    }


def _exchanged(found: Arrays, share: float) -> Arrays:
    """The same pairs with as many more prompts exchanged, which is to call each image by the other's name."""
    prompts = np.unique(found["prompt"][~found["exchanged"].astype(bool)])
    more = (share - EXCHANGED) / (1 - EXCHANGED)
    chosen = prompts[np.random.default_rng(SEED).random(len(prompts)) < more]
    swap = np.isin(found["prompt"], chosen)
    return {
        **found,
        "margins": np.where(swap[:, None], -found["margins"], found["margins"]),
        "truth": np.where(swap, 1 - found["truth"], found["truth"]),
    }


def _labelled(found: Arrays, column: str) -> np.ndarray:
    """(pairs,) of one column of the labels, recipe by recipe."""
    result = np.zeros(len(found["truth"]))
    for name in RECIPES:
        own = found["recipe"] == name
        if own.any():
            count = int(own.sum())
            labels = instrument.label(
                found["margins"][own], np.ones(count), np.zeros(count, int), np.full(count, np.nan),
                found["prompt"][own], strata=found["stratum"][own],
            )  # fmt: skip
            result[own] = getattr(labels, column)
    return result


def _by_recipe(rule: Callable[[np.ndarray], np.ndarray], found: Arrays) -> np.ndarray:
    result = np.zeros(len(found["truth"]))
    for name in RECIPES:
        own = found["recipe"] == name
        result[own] = rule(found["margins"][own])
    return result


def _table(names: list[str], found: Arrays, share: float) -> list[Row]:
    known = found["truth"] != 0.5
    truth = found["truth"][known]
    ways = {
        "all evidence": _labelled(found, "probability"),
        "judges alone, weights learnt": _labelled(found, "judges_only"),
        "majority": _by_recipe(rules.majority, found),
        "Dawid-Skene": _by_recipe(rules.dawid_skene, found),
        "sum of log-odds": rules.added(found["margins"]),
    }
    alone = {
        name: np.nan_to_num(rules.added(column[:, None]), nan=0.5)
        for name, column in zip(names, found["margins"].T, strict=True)
    }
    best = max(alone, key=lambda name: measures.accuracy(alone[name][known], truth))
    ways[f"best judge ({best})"] = alone[best]
    print(
        f"\n{share:.0%} exchanged: {int(known.sum())} of {len(known)} pairs have a truth; {truth.mean():.1%} as worded"
    )
    print(f"| | accuracy | ECE | above {SURE}: share | right | at the recipe's limit: share | right |")
    print("|---|---|---|---|---|---|---|")
    limits = np.array([recipes.load(name, []).labels.min_probability for name in found["recipe"][known]])
    rows = []
    for way, probability in ways.items():
        said = _said(probability[known], truth, limits)
        cells = [f"{said['accuracy']:.3f}", f"{said['ece']:.3f}"]
        cells += [f"{said[name]:.1%}" for name in ("sure", "sure right", "kept", "kept right")]
        print(f"| {way} | {' | '.join(cells)} |")
        rows += _rows(f"{share:.0%} exchanged, {way}", said, goal=way == "all evidence")
        rows += (
            []
            if way.startswith("best judge")
            else _promises(f"{share:.0%} exchanged, {way}", probability[known], truth)
        )
    return rows


def _promises(what: str, probability: np.ndarray, truth: np.ndarray) -> list[Row]:
    """How many were right of those that were promised to be, bin by bin of what was promised."""
    said = np.maximum(probability, 1 - probability)
    right = np.where(probability == 0.5, 0.5, (probability > 0.5) == (truth > 0.5))
    rows = []
    for low, high in itertools.pairwise(PROMISED):
        some = (said >= low) & ((said < high) | (high == 1))
        if some.any():
            note = f"promised {100 * said[some].mean():.1f} %; {int(some.sum())} pairs"
            rows.append(
                Row(f"{what}: right of those from {low:g} to {high:g}", percent(right[some].mean()), "%", note=note)
            )
    return rows


def _said(probability: np.ndarray, truth: np.ndarray, limits: np.ndarray) -> dict[str, float]:
    sure, kept = np.maximum(probability, 1 - probability) >= SURE, probability >= limits
    right = (probability > 0.5) == (truth > 0.5)
    return {
        "accuracy": measures.accuracy(probability, truth),
        "ece": measures.ece(probability, truth),
        "sure": float(sure.mean()),
        "sure right": float(right[sure].mean()) if sure.any() else float("nan"),
        "kept": float(kept.mean()),
        "kept right": float((truth[kept] > 0.5).mean()) if kept.any() else float("nan"),
    }


def _rows(what: str, said: dict[str, Any], goal: bool) -> list[Row]:
    note = f"accuracy {said['accuracy']:.3f}; {said['sure']:.0%} above {SURE}, {said['kept']:.0%} published"
    return [
        Row(f"{what}: ECE", round(said["ece"], 4), goal="≤ 0.02" if goal else "", note=note),
        Row(f"{what}: right above {SURE}", percent(said["sure right"]), "%", "≥ 99" if goal else ""),
        Row(f"{what}: right of those published", percent(said["kept right"]), "%", "≥ 99" if goal else ""),
    ]


if __name__ == "__main__":
    sys.exit(main())
