"""Models on disk with something wrong: their tensors renamed, dropped, reshaped; their settings changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

Change = Callable[[dict[str, Any]], dict[str, Any]]


def copy(folder: Path, to: Path) -> Path:
    """A copy of a model that a test may hurt."""
    return Path(shutil.copytree(folder, to / folder.name))


def rewrite(folder: Path, change: Change) -> int:
    """Change the tensors of a part's one file; how many it had."""
    (path,) = folder.glob("*.safetensors")
    tensors = load_file(path)
    changed = change(dict(tensors))
    save_file({name: value.clone().contiguous() for name, value in changed.items()}, path, metadata={"format": "pt"})
    return len(tensors)


def reset(path: Path, **values: Any) -> None:
    """Change settings in a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def prefixed(prefix: str) -> Change:
    """Every name with something in front of it, as wrappers and single-file checkpoints have it."""
    return lambda tensors: {f"{prefix}{name}": value for name, value in tensors.items()}


def without(word: str) -> Change:
    """Without the tensors that have a word in their name."""
    return lambda tensors: {name: value for name, value in tensors.items() if word not in name}
