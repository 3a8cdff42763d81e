"""Where weights lie that users fetch for a judge: a place that they give, or a folder of its name under one root.

The root is $DATAGEN_WEIGHTS, else $XDG_DATA_HOME/datagen/weights, else ~/.local/share/datagen/weights. Nothing is
downloaded here: what is missing is said, with who publishes it and how it is told from another file.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from datagen.errors import ModelError

CONVERTED = ("weights.safetensors", "weights.npz")


def root() -> Path:
    """The folder in which each judge has one of its own."""
    if given := os.environ.get("DATAGEN_WEIGHTS"):
        return Path(given).expanduser()
    home = os.environ.get("XDG_DATA_HOME")
    return (Path(home) if home else Path.home() / ".local" / "share") / "datagen" / "weights"


@dataclasses.dataclass(frozen=True)
class Folder:
    """Weights that are published as a folder of the Hugging Face hub, and read as one."""

    judge: str
    hub: str  # owner/name
    option: str = "weights"
    under: str = ""  # of the judge's own folder
    file: str = "config.json"  # that tells the folder

    def find(self, given: str) -> Path:
        """The folder that the user gave, the judge's own, or the hub's cached one. ModelError if there is none."""
        own = root() / self.judge / self.under
        place = Path(given).expanduser() if given else own
        if (place / self.file).is_file():
            return place
        if not given and (cached := self._cached()):
            return cached
        raise ModelError(
            f"the judge {self.judge} needs the folder of {self.hub}, and {_not_here(place, self.file)}: fetch it with "
            f"`hf download {self.hub} --local-dir {own}`, or give its place with judges.{self.judge}.{self.option}"
        )

    def _cached(self) -> Path | None:
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(self.hub, self.file)
        return Path(found).parent if isinstance(found, str) else None


@dataclasses.dataclass(frozen=True)
class File:
    """Weights that are published as one file, or what a user made of it: `weights.safetensors` or `weights.npz`."""

    judge: str
    publisher: str
    name: str
    digest: str = ""  # what its SHA-256 begins with, where that is known
    also: tuple[str, ...] = ()  # what else it may be called

    def find(self, given: str) -> Path:
        """The file that the user gave, or the first in the folder given or in the judge's own. ModelError."""
        place = Path(given).expanduser() if given else root() / self.judge
        if place.is_file():
            return place
        for name in (self.name, *self.also, *CONVERTED):
            if (place / name).is_file():
                return place / name
        known = f" (its SHA-256 begins with {self.digest})" if self.digest else ""
        raise ModelError(
            f"the judge {self.judge} needs {self.name}{known} of {self.publisher}, and "
            f"{_not_here(place, self.name)}: put it into {root() / self.judge}, or give its place with "
            f"judges.{self.judge}.weights"
        )


def _not_here(place: Path, file: str) -> str:
    if place.is_dir():
        return f"{place} has no {file}"
    return f"{place} is {'a file' if place.exists() else 'not there'}"
