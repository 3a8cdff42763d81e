"""Trains on preference pairs: the command line; the program itself is train.py.

`python training/run.py --data OUT/dataset --method mapo --out DIR`, or under `accelerate launch`. The same command
again resumes; a finished DIR is left alone, one of another command is refused.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):  # run as a file: make `training` importable as it is under `python -m`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from training.errors import exit_code
from training.settings import training as settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0, or 2 with one line on stderr; 143 after SIGTERM, 130 after Ctrl-C, with everything saved."""

    def work() -> None:
        given = settings.parse(arguments)
        from training.train import run  # imports torch, for which nobody should wait to read --help or a typo

        run(given)

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
