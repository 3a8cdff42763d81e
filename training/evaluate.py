"""Measure a model with and without what was trained, or two sets of pictures that exist: figures, intervals, plots.

`python training/evaluate.py --adapter DIR --prompts OUT/dataset --out REPORT` draws both arms with the same seeds,
prints a table and writes report.json, figures.png and grid.png. Readers and judges of your own go by dotted path.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):  # run as a file: make `training` importable as it is under `python -m`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from training.errors import exit_code
from training.settings import evaluation as settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0, or 2 with one line on stderr."""

    def work() -> None:
        given = settings.parse(arguments)
        from training.evaluation import report  # imports torch, for which nobody should wait to read --help or a typo
        from training.evaluation.run import evaluate

        report.show(evaluate(given))
        print(f"report.json, figures.png and grid.png are in {given.job.out}")

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
