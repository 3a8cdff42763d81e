"""What leaves a finished run. The folder is the registry: one file a format, each with two functions.

`export(finished, folder)` fills an empty folder and depends on nothing but its argument, so equal runs give equal
bytes; `stamp(folder)` gives the hash of the pairs that a folder was made from, None if it is not a whole export.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from pathlib import Path

from datagen import store
from datagen.errors import InputError, RunError
from datagen.recipe import Profile, Recipe
from datagen.registry import Registry

FORMATS = Registry(__name__, "export format", InputError, not_entries=("remarks",))
DATASET = "huggingface"  # what a run itself writes


@dataclasses.dataclass(frozen=True)
class Finished:
    """A run whose stages are done."""

    run: store.Run
    recipe: Recipe
    profile: Profile
    shards: int  # of pairs
    content: str  # hash of the pairs and of the recipe they come from
    drops: dict[str, int]  # reason → pairs that did not become rows


def write(finished: Finished, name: str, folder: Path) -> bool:
    """Export into `folder` unless it holds just that already; True if it was written.

    The folder is built aside and renamed, so it is there wholly or not at all. Raises InputError for an unknown
    format, RunError if the folder holds something else or the disk refuses.
    """
    module = FORMATS.module(name)
    before = module.stamp(folder)
    if before == finished.content:
        return False
    if folder.exists() and before is None and not _ours(finished, folder):
        raise RunError(f"{folder} holds something that is not a {name} export: give another folder, or remove it")
    building = folder.with_name(f".{folder.name}{store.TEMPORARY}")
    with store.writing(folder.parent):
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(parents=True)
        module.export(finished, building)
        _swap(building, folder)
    return True


def _ours(finished: Finished, folder: Path) -> bool:
    """Whether a folder may be replaced whatever is in it: the run's own dataset, or an empty one."""
    return folder == finished.run.dataset or (folder.is_dir() and not any(folder.iterdir()))


def _swap(building: Path, folder: Path) -> None:
    """Put a finished folder in its place; a kill in between leaves none, and the next call builds it."""
    store.sync_folder(building)
    old = folder.with_name(f".old-{folder.name}{store.TEMPORARY}")
    shutil.rmtree(old, ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        folder.rename(old)
    building.rename(folder)
    store.sync_folder(folder.parent)
    shutil.rmtree(old, ignore_errors=True)
