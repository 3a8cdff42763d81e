"""One call of `datagen label`, from files of scores to a labelled run directory.

Nothing is judged or drawn. The run is whole: it holds the images' own files, so that the input may go. A call that was
interrupted is made again; one whose run is finished writes nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from datagen import recipe as recipes
from datagen import store, version
from datagen.commands import relabel
from datagen.commands.label import groups, joined, scores
from datagen.commands.label.filling import KNOWN, Filling
from datagen.commands.label.groups import Grouped
from datagen.commands.label.joined import Joined
from datagen.errors import InputError, RunError
from datagen.labels import people
from datagen.pipeline import build
from datagen.pipeline.given import is_whole
from datagen.pipeline.plan import Summary
from datagen.progress import Progress
from datagen.recipe import FOUND, Recipe
from datagen.store.lock import LOCK

SIZE = 512  # usual sides of a picture: only the cut of the dataset into files depends on it
AT_ONCE = 64  # images of a shard


@dataclasses.dataclass(frozen=True)
class Options:
    """What else is asked for.

    `by` is a column of the scores that images are grouped by besides their prompt, `pairs` insists on pairs. `known`
    is a table of labels by people (pair_id, label), `known_column` a column of the scores with labels of their pairs.
    `images` is where the images are now, `settings` are rules of labels, as labels.min_probability=0.9.
    """

    by: str | None = None
    pairs: bool = False
    known: Path | None = None
    known_column: str | None = None
    images: Path | None = None
    settings: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Labelled:
    """What a call ends with: the run's summary; lines about what of the input is not in it, and what was learnt."""

    summary: Summary
    notes: list[str]


def label_scores(
    files: Sequence[Path],
    out: Path,
    options: Options | None = None,
    *,
    say: Callable[[str], None] = lambda line: None,
    progress: Progress = lambda what, done, total: None,
) -> Labelled:
    """Make `out` a run directory of the images of `files`, labelled by all judges in them together.

    Raises InputError for files that are not what `datagen judge` wrote, of different images, or of none that can be
    compared; RunError if `out` is another run's or cannot be written.
    """
    asked = options or Options()
    _refuse_contrary(asked)
    given = joined.join([scores.read(file, asked.by, asked.known_column) for file in files])
    if asked.pairs and given.pairs is None:
        raise InputError(f"{files[0]} was judged without --pairs: judge it with them, or leave out --pairs")
    _refuse_inside(out, given, asked)
    found = groups.grouped(given, asked.by)
    run = store.Run(out)
    recipe = _recipe(given, found, asked, out)
    settings = _settings(recipe, given, files, asked)
    begun = store.check(run, settings)
    lost = Counter[str]()
    if not (begun and is_whole(run, recipe, settings["digest"])):
        with _cleared(run, begun), store.hold(run, settings, say):
            lost = Filling(run, recipe, settings["digest"], given, found, progress).fill(
                asked.images, known=asked.known_column is not None
            )
    summary = build.relabel(run, {}, say=say, progress=progress)
    return Labelled(summary, [*_notes(given, found, lost), *relabel.learnt(summary)])


def _refuse_contrary(asked: Options) -> None:
    if asked.pairs and asked.by is not None:
        raise InputError(f"--pairs keeps the pairs as they are, and --by {asked.by} makes new ones: give one of them")
    if asked.known is not None and asked.known_column is not None:
        raise InputError("--known and --known-column both name labels by people: give one of them")
    if asked.known_column is not None and asked.by is not None:
        raise InputError("--known-column has labels of the pairs that are given, and --by makes others: leave out one")


def _refuse_inside(out: Path, given: Joined, asked: Options) -> None:
    """RunError for a run among the images, where the next call would take it for input."""
    folder = asked.images or Path(given.origin.input)
    if folder.is_dir() and out.resolve().is_relative_to(folder.resolve()):
        raise RunError(f"{out} lies in {folder}, among the images that were judged: give an --out elsewhere")


def _recipe(given: Joined, found: Grouped, asked: Options, out: Path) -> Recipe:
    """The recipe of a run of images that exist, with the rules of labels that are asked for."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(given.origin.input).stem).strip("-._")[:60] or FOUND
    mean = sum(len(group.members) for group in found.groups) / len(found.groups)
    made = Recipe.model_validate(
        {
            "name": name,
            "description": "Images that existed, compared with others of their prompt.",
            "license": "unknown",
            "pairing": "list",
            "prompts": {"count": len(found.groups)},
            "images": {"candidates": 2, "shard_size": max(1, round(AT_ONCE / mean))},
            "profiles": {
                FOUND: {
                    "model": FOUND,
                    "taxonomy": FOUND,
                    "grammar": FOUND,
                    "steps": 1,
                    "guidance": 0.0,
                    "width": SIZE,
                    "height": SIZE,
                    "judges": [{"name": of["name"], "options": of["options"]} for of in given.judges],
                }
            },
        }
    )
    changes = recipes.label_changes(made, list(asked.settings))
    known = asked.known if asked.known is not None else out / KNOWN if asked.known_column is not None else None
    if known is not None:
        if "known" in changes:
            raise InputError("labels of people are named twice, by --set labels.known and by an option: give one")
        changes["known"] = str(known.absolute())
    if asked.known is not None:
        people.read(asked.known)  # refused before anything is written
    return made.model_copy(update={"labels": recipes.Labels.model_validate(made.labels.model_dump() | changes)})


def _settings(recipe: Recipe, given: Joined, files: Sequence[Path], asked: Options) -> dict[str, Any]:
    """recipe.json: besides the recipe the content of all scores, and how images are grouped."""
    resolved = recipes.resolved(recipe, FOUND)
    resolved["files"] = {
        "input": given.origin.input,
        "scores": [_digest(file) for file in files],
        "by": asked.by,
        "known_column": asked.known_column,
    }
    text = json.dumps(resolved, sort_keys=True, ensure_ascii=False)
    return {"digest": hashlib.sha256(text.encode()).hexdigest()[:16], "version": version(), "recipe": resolved}


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]


@contextlib.contextmanager
def _cleared(run: store.Run, begun: bool) -> Iterator[None]:
    """Leave no run behind that could not be filled, where none was before."""
    new = not run.root.exists()
    try:
        yield
    except InputError:
        if new:
            shutil.rmtree(run.root, ignore_errors=True)
        elif not begun:
            shutil.rmtree(run.root / "tables", ignore_errors=True)
            for name in ("recipe.json", KNOWN, LOCK):
                (run.root / name).unlink(missing_ok=True)
        raise


def _notes(given: Joined, found: Grouped, lost: Counter[str]) -> list[str]:
    """What of the input is not in the run, a line each."""
    total = len(given.images)
    out = [f"left out: {count} of {total} images {reason}" for reason, count in found.left_out.most_common()]
    gone = [f"lost: {count} of {total} images {reason}" for reason, count in lost.most_common()]
    return [*given.notes, *out, *gone]
