"""A file of margins → a file of probabilities; without a file, 100,000 simulated pairs: seconds and memory.

`python -m benchmarks labels FILE.npz --out ANSWER.npz`. FILE holds `margins` (N, J), NaN where a judge abstained,
`design` (N,) of 1, −1 and 0, `role` (N,) of 0 pair, 1 control, 2 planted, 3 null, `known` (N,) of 1, 0 and NaN, and
`prompt` (N,). ANSWER holds `probability`, `judges_only`, `low` and `high`, a row each.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.support.juries import simulate
from benchmarks.support.results import Row, record
from datagen.errors import InputError
from datagen.labels import instrument

NEEDED = ("margins", "design", "role", "known", "prompt")
ANSWER = ("probability", "judges_only", "low", "high")
PAIRS = 100_000


def read(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a file; InputError says what is wrong with it."""
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [name for name in NEEDED if name not in file]
            if missing:
                raise InputError(f"{path} holds no {', '.join(missing)}: an .npz of {', '.join(NEEDED)} is needed")
            return {name: file[name] for name in NEEDED}
    except (OSError, ValueError, zipfile.BadZipFile, AttributeError, TypeError) as error:
        raise InputError(f"{path} cannot be read as an .npz of numbers: {error}") from None


def answer(given: dict[str, NDArray[Any]]) -> instrument.Labels:
    """The labels of such arrays."""
    return instrument.label(given["margins"], given["design"], given["role"], given["known"], given["prompt"])


def tell(found: instrument.Labels) -> None:
    """What was learnt, a line each."""
    for note in found.notes:
        print(note)
    for name, share in found.obedience.items():
        print(f"obeyed{f' ({name})' if name else ''}: {share}")
    for j, judge in enumerate(found.judges):
        leak = "" if judge.leak is None else f", leak {judge.leak}"
        spoke = f"spoke of {judge.coverage:.0%}"
        print(f"judge {j}: right in {judge.reliability:.1%}, weight {judge.weight:.3g}, {spoke}{leak}")


def simulated() -> dict[str, NDArray[Any]]:
    """100,000 pairs of five judges, meant and obeyed in 85 %."""
    random = np.random.default_rng(20)
    jury = simulate.jury(random, "hard", judges=5)
    truth = simulate.coin(random, PAIRS)
    margins = simulate.margins(jury, random, truth, simulate.clarities(jury, random, PAIRS))
    return {
        "margins": margins, "design": simulate.design(random, truth, 0.85), "role": np.zeros(PAIRS),
        "known": np.full(PAIRS, np.nan), "prompt": np.arange(PAIRS) // 2,
    }  # fmt: skip


def main() -> int:
    """0, or 2 for a file that cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks labels", description=__doc__, allow_abbrev=False)
    parser.add_argument("file", nargs="?", type=Path, help="an .npz of margins, design, role, known and prompt")
    parser.add_argument("--out", type=Path, help="the .npz to write; needed with a file")
    given = parser.parse_args()
    if given.file is None:
        return timed()
    try:
        if given.out is None:
            raise InputError("--out is missing: name the .npz to write the answer to")
        found = answer(read(given.file))
        np.savez(given.out, **{name: getattr(found, name) for name in ANSWER})
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    tell(found)
    return 0


def timed() -> int:
    """Seconds and memory of 100,000 pairs."""
    arrays = simulated()
    started = time.perf_counter()
    found = answer(arrays)
    seconds = time.perf_counter() - started
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    tell(found)
    print(f"{PAIRS} pairs in {seconds:.1f} s, {memory:.2f} GiB")
    record(
        "labels",
        [
            Row(f"{PAIRS:,} pairs, 5 judges: time", seconds, "s", "< 10"),
            Row(f"{PAIRS:,} pairs, 5 judges: peak memory", memory, "GiB", "< 1.86"),
        ],
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
