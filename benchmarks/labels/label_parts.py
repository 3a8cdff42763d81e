"""What it costs in accuracy that a large run is labelled part by part, by what a sample taught: simulated juries.

`python -m benchmarks label_parts [--pairs 200000] [--juries 3]`. The same pairs are labelled as a whole and in parts.
Errors are of the probabilities beside the truth that the simulation knows; time is of both by turns, in one process.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.support import judged_run
from benchmarks.support.juries import measures
from benchmarks.support.juries.cases import CONTINUOUS, Situation
from benchmarks.support.results import Row, record
from datagen import records
from datagen.labels import labelling, sample
from datagen.records import Prompt, Verdict

RIGHT = 0.85  # how often what was meant is true
RECIPE = judged_run.recipe(1)  # of which only the pairing counts


def prompts(count: int) -> pa.Table:
    """So many, of one principle."""
    row = records.to_table(Prompt, [Prompt("", "p", "style", "a chef", "", "", "", "", "c", "train", "t")])
    table = row.take(pa.array(np.zeros(count, dtype=np.int64)))
    names = pa.array([f"p{place}" for place in range(count)])
    return table.set_column(table.column_names.index("prompt_id"), "prompt_id", names)


def verdicts(margins: np.ndarray[Any, Any]) -> pa.Table:
    """Two images a prompt, of which the first has the margin (N, J) and the second nothing."""
    count, judges = margins.shape
    silent = [float("nan")] * judges
    row = Verdict("", "", "", 0, None, silent, silent, silent, silent, float("nan"))
    table = records.to_table(Verdict, [row]).take(pa.array(np.zeros(2 * count, dtype=np.int64)))
    lean = np.zeros((count, 2, judges))
    lean[:, 0] = margins
    offsets = pa.array(np.arange(0, 2 * count * judges + 1, judges, dtype=np.int32))
    columns = {
        "prompt_id": pa.array([f"p{place}" for place in range(count) for _ in range(2)]),
        "image_id": pa.array([f"{side}{place}" for place in range(count) for side in "ab"]),
        "side": pa.array(["chosen", "rejected"] * count),
        "lean": pa.ListArray.from_arrays(offsets, pa.array(lean.reshape(-1))),
    }
    for name, column in columns.items():
        table = table.set_column(table.column_names.index(name), name, column)
    return table


def labelled(of: pa.Table, said: pa.Table, judges: list[str], cut: int) -> tuple[np.ndarray[Any, Any], float]:
    """Probabilities (N,), and the seconds of processor time they took."""
    begun, count = time.process_time(), of.num_rows
    if cut == 1:
        tables = [labelling.label(RECIPE, judges, of, said)[0]]
    else:
        ends = [part * count // cut for part in range(cut + 1)]
        parts = [(of[a:b], said[2 * a : 2 * b]) for a, b in zip(ends, ends[1:], strict=False)]
        tables = list(labelling.in_parts(RECIPE, judges, lambda: parts, said.num_rows)[0])
    return pa.concat_tables(tables)["probability"].to_numpy(), time.process_time() - begun


def jury(seed: int, pairs: int) -> dict[str, float]:
    """The figures of one."""
    case = Situation("design right in 85 %", CONTINUOUS, pairs=pairs, right=RIGHT).case(seed)
    margins, truth = case.margins * case.design[:, None], case.truth * case.design
    names = [f"judge {place}" for place in range(margins.shape[1])]
    tables = prompts(pairs), verdicts(margins)
    cut = sample.count(2 * pairs)
    whole, long = labelled(*tables, names, 1)
    parts, longer = labelled(*tables, names, cut)
    spoken = ~np.isnan(margins).all(axis=1)  # of the others there is no label
    whole, parts, truth = whole[spoken], parts[spoken], truth[spoken]
    found = {
        "parts": float(cut),
        "probabilities differ by": float(np.abs(whole - parts).mean()),
        "labels above .95 in one way alone": 100 * float(((whole > 0.95) != (parts > 0.95)).mean()),
        "processor time, parts / whole": longer / long,
    }
    for name, of in (("whole", whole), ("parts", parts)):
        found[f"ECE, {name}"] = measures.ece(of, truth)
        found[f"right, {name}"] = 100 * measures.accuracy(of, truth)
    return found


def main() -> int:
    """0; goals that are missed are printed as such."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks label_parts", description=__doc__, allow_abbrev=False)
    parser.add_argument("--pairs", type=int, default=200_000)
    parser.add_argument("--juries", type=int, default=3)
    given = parser.parse_args()
    every = [jury(seed, given.pairs) for seed in range(1000, 1000 + given.juries)]
    units = {"processor time, parts / whole": "×", "right, whole": "%", "right, parts": "%"}
    units["labels above .95 in one way alone"] = "%"
    rows = []
    for name in every[0]:
        values = [one[name] for one in every]
        spread = f"{min(values):.3g} to {max(values):.3g} of {given.juries} juries"
        rows.append(Row(name, float(np.mean(values)), units.get(name, ""), "", spread))
        print(f"{name:40} {rows[-1].figure:.4g} {rows[-1].unit} [{spread}]", flush=True)
    record("label_parts", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
