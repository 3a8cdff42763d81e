"""Look at what training did: base against aligned, same prompts, same seeds, in one PNG.

`python training/sample.py --adapter DIR --prompts FILE --principle TEXT --out grid.png`; with `--retrieve` each prompt
gets the principles that are at stake in it, or none, and the grid and the terminal say which and how clearly.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):  # run as a file: make `training` importable as it is under `python -m`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from training.errors import exit_code
from training.settings import sampling as settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0, or 2 with one line on stderr."""

    def work() -> None:
        given = settings.parse(arguments)
        from training.evaluation.samples import sample  # imports torch, for which nobody should wait to read --help

        sample(given)

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
