"""`datagen audit`: a run, or what `datagen judge` wrote, looked at as an experiment; prints it and writes it as JSON.

Equal inputs give equal bytes, and the file is there whole or not at all.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from datagen import store
from datagen.commands.audit import runs, scores
from datagen.errors import InputError
from datagen.labels.audit.report import report
from datagen.progress import Progress

NAME = "audit.json"


def audit(path: Path, progress: Progress = lambda what, done, total: None) -> tuple[dict[str, Any], Path]:
    """The audit of a run directory or of a file of scores, and the file that it was written to.

    Raises RunError and InputError for what is neither, or not finished.
    """
    if path.is_dir():
        evidence, pairs, notes = runs.read(path, progress)
        file = path / NAME
    elif path.is_file():
        evidence, notes = scores.read(path)
        pairs, file = None, path.with_name(f"{path.stem}.{NAME}")
    else:
        raise InputError(f"there is no {path}: give a run directory, or a file that datagen judge wrote")
    found = report(evidence, pairs, built=pairs is not None, notes=notes)
    store.Run(file.parent).files.write(file, lambda stream: stream.write(as_json(found).encode()))
    return found, file


def as_json(found: dict[str, Any]) -> str:
    """The audit as it is written."""
    return json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
