"""What leaves a finished run. The folder is the registry: one file a format, each with two functions.

`export(finished, folder)` fills an empty folder and depends on nothing but its argument, so equal runs give equal
bytes; `stamp(folder)` gives the hash of the pairs that a folder was made from, None if it is not a whole export.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from datagen import records, store
from datagen.errors import InputError, RunError
from datagen.export import control
from datagen.export.parts import mark
from datagen.export.parts.mark import Mark
from datagen.progress import Progress
from datagen.recipe import FOUND, Profile, Recipe
from datagen.registry import Registry
from datagen.store import sums

FORMATS = Registry(__name__, "export format", InputError, not_entries=("control",))
DATASET = "huggingface"  # what a run itself writes
LISTS = "lists"  # what it writes besides where images are ranked


def _unseen(what: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


@dataclasses.dataclass(frozen=True)
class Finished:
    """A run whose stages are done; of a control arm, `run` gives pairs with that arm's labels."""

    run: store.Run
    recipe: Recipe
    profile: Profile
    shards: int  # of pairs
    content: str  # hash of the pairs and of the recipe they come from
    drops: dict[str, int]  # reason → pairs that did not become rows
    remarks: dict[str, int]  # what is to be known of images → of how many
    learnt: dict[str, Any]  # of judges and labels; see labels.labelling
    control: str = ""  # the arm whose labels the pairs have, "" for the real ones
    mark: Mark = dataclasses.field(default_factory=Mark)  # that the pictures get
    progress: Progress = _unseen


def arm(finished: Finished, which: str) -> Finished:
    """The same run with the labels of a control arm, `random` or `swapped`, and a `content` of its own."""
    run = control.exchanged(finished.run, finished.shards, finished.recipe.seed, which)
    content = records.content_id(finished.content, "control", which)
    return dataclasses.replace(finished, run=run, content=content, control=which)


def marked(finished: Finished, wanted: Mark) -> Finished:
    """The same run whose pictures get a mark, and a `content` of its own; pictures that were found get none."""
    if finished.profile.model == FOUND:
        return dataclasses.replace(finished, mark=mark.FOUND)
    if wanted.name == mark.NONE:
        return finished
    return dataclasses.replace(
        finished, mark=wanted, content=records.content_id(finished.content, "mark", wanted.name)
    )


def is_there(finished: Finished, name: str, folder: Path) -> bool:
    """Whether a folder holds this export, and each of its files is as it was written."""
    whole = FORMATS.module(name).stamp(folder) == finished.content and sums.format_of(folder) == _kind(finished, name)
    return whole and not any(sums.differences(folder, progress=finished.progress))


def write(finished: Finished, name: str, folder: Path, say: Callable[[str], None] = lambda line: None) -> bool:
    """Export into `folder` unless it holds just that already; True if it was written.

    The folder is built aside and renamed, so it is there wholly or not at all; FOLDER.sha256 beside it holds the
    digests of its files. What has changed in them since is said, and mended. Raises InputError for an unknown format,
    RunError if the folder holds something else or the disk refuses.
    """
    module = FORMATS.module(name)
    if is_there(finished, name, folder):
        return False
    _refuse_others(finished, name, folder)
    if sums.format_of(folder) == _kind(finished, name):  # else nothing is known of what lies there
        for change in sums.differences(folder, progress=finished.progress):
            say(f"{change}: the export is written again")
    building = folder.with_name(f".{folder.name}{store.TEMPORARY}")
    with store.writing(folder):
        store.remove(building)
        building.mkdir(parents=True)
        try:
            module.export(finished, building)
        except BaseException:  # what is not whole is of no use, and may be what fills the disk
            with contextlib.suppress(OSError):
                store.remove(building)
            raise
        _swap(building, folder)
        sums.write(folder, _kind(finished, name), finished.progress)
    return True


def _refuse_others(finished: Finished, name: str, folder: Path) -> None:
    """RunError if what lies where an export is to be written is neither one, nor empty, nor the run's own dataset."""
    dataset = folder.resolve() == finished.run.dataset.resolve()
    if dataset and name == DATASET and not finished.control:
        return
    lies, kind = sums.format_of(folder), _kind(finished, name)
    known = lies == kind
    empty = folder.is_dir() and not any(folder.iterdir())
    ours = known or empty or (lies is None and not finished.control and FORMATS.module(name).stamp(folder) is not None)
    if folder.exists() and (dataset or not ours):
        holds = f"a {lies} export," if lies and not dataset else "something that is"
        raise RunError(f"{folder} holds {holds} not a {kind} export: give another folder, or remove it")
    if sums.beside(folder).exists() and not known:
        raise RunError(f"{sums.beside(folder)}, where digests are written, is another file: give another folder")


def _kind(finished: Finished, name: str) -> str:
    """What the digests call an export, so that no arm takes the place of the real labels, or they of an arm."""
    return f"{name} control-{finished.control}" if finished.control else name


def _swap(building: Path, folder: Path) -> None:
    """Put a finished folder in its place; a kill in between leaves none, and the next call builds it."""
    store.sync_folder(building)
    old = folder.with_name(f".old-{folder.name}{store.TEMPORARY}")
    store.remove(old)
    with contextlib.suppress(FileNotFoundError):
        folder.rename(old)
    building.rename(folder)
    store.sync_folder(folder.parent)
    with contextlib.suppress(OSError):  # the new one is in its place
        store.remove(old)
