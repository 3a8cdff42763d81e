"""The pictures of one arm and seed on disk, saved as they are sampled: the same command samples only missing ones.

They belong to a key: pictures of other settings are never taken for its own, nor overwritten.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from training.errors import TrainingError
from training.evaluation.pictures import Pictures, from_files
from training.inference.hub import OWN


class ImageFolder:
    """Files `names` in `folder`, made as `key` says. Raises TrainingError where it holds pictures of another key."""

    def __init__(self, folder: Path, names: Sequence[str], key: object) -> None:
        self.paths = [folder / name for name in names]
        self._record = folder / f".{names[0].partition('-')[0]}.json"  # one a seed, whose number begins the names
        self._digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        folder.mkdir(parents=True, exist_ok=True)
        record = self._read()
        self.begun = record.get("digest") == self._digest
        self.notes: dict[str, Any] = record["notes"] if self.begun else {}
        if record and not self.begun:
            raise TrainingError(
                f"{folder} holds pictures drawn with other settings, prompts or weights: give another --out, or "
                "delete it"
            )

    def _read(self) -> dict[str, Any]:
        """What the record says, {} where there is none."""
        if not self._record.is_file():
            return {}
        try:
            record = json.loads(self._record.read_text(encoding="utf-8-sig"))
            return {"digest": str(record["digest"]), "notes": dict(record["notes"])}
        except (ValueError, KeyError, TypeError) as error:
            raise TrainingError(
                f"{self._record} is damaged ({type(error).__name__}), so nothing says what the pictures beside it "
                "are: give another --out, or delete that folder"
            ) from error

    def begin(self, notes: dict[str, Any]) -> None:
        """Keep what is to be said of the pictures; from now on these files are this key's."""
        self.notes, self.begun = notes, True
        _write(self._record, json.dumps({"digest": self._digest, "notes": notes}).encode())

    def missing(self) -> list[int]:
        """Which pictures are still to be sampled."""
        return [i for i, path in enumerate(self.paths) if not path.is_file()]

    def put(self, index: int, picture: Image.Image) -> None:
        """Keep one picture, as PNG: no pixel changes."""
        temporary = self.paths[index].with_suffix(".part")
        picture.save(temporary, "PNG")
        temporary.replace(self.paths[index])

    def pictures(self) -> Pictures:
        """All of them, once none is missing."""
        return from_files(self.paths)


def fingerprint(source: Path | str) -> object:
    """Hashes of the weights and configurations in a folder, or of one file; a hub id is its own.

    What a run keeps for itself, as its last checkpoint, makes no picture.
    """
    root = Path(source)
    if root.is_file():
        with root.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    files = sorted(path for path in root.rglob("*") if path.suffix in (".safetensors", ".json") and path.is_file())
    files = [path for path in files if path.relative_to(root).parts[0] not in OWN]
    return [[str(path.relative_to(root)), fingerprint(path)] for path in files] or str(source)


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_suffix(".part")
    temporary.write_bytes(data)
    temporary.replace(path)
