"""Labels a run anew by other rules of [labels]: no image is drawn and nobody is asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from datagen import recipe as recipes
from datagen import store
from datagen.errors import InputError
from datagen.labels import answers, told
from datagen.labels import people as labels
from datagen.pipeline import build
from datagen.pipeline.plan import Summary
from datagen.progress import Progress


def relabel(
    run: store.Run,
    overrides: Sequence[str],
    *,
    people: Path | None = None,
    workers: int = 1,
    say: Callable[[str], None] = lambda line: None,
    progress: Progress = lambda what, done, total: None,
) -> Summary:
    """Apply `labels.KEY=VALUE` to a run, which keeps them; an interrupted call is taken up by the next, or by the run.

    What a file of `people` says of its pairs joins what the run has of them. Raises RecipeError for any other key,
    InputError for a file without answers, RunError if the run is not judged.
    """
    if people is not None and run.address:
        raise InputError(f"{run.address} is on an object store, and answers lie beside a run on a disk: copy it first")
    recipe, _ = recipes.of_run(run.started())
    changes = recipes.label_changes(recipe, list(overrides))
    if people is not None:
        changes["known"] = str(_join(run, people, recipe.labels.known, say).absolute())
    return build.relabel(run, changes, workers=workers, say=say, progress=progress)


def learnt(summary: Summary) -> list[str]:
    """What was learnt of the judges, and what people said that does not count, a line each."""
    return [f"labels: {line}" for line in told.lines(summary.plans["labels"].facts())]


def _join(run: store.Run, path: Path, before: str, say: Callable[[str], None]) -> Path:
    """Put what people answered elsewhere into the run's own file."""
    found, unanswered = answers.read(path)
    for who, said in sorted(found.items()):
        joined = labels.join(run.root, who, said, before)
    count = sum(map(len, found.values()))
    say(f"{count} answers of {len(found)} people joined the run" + f", {unanswered} tasks are open" * bool(unanswered))
    return joined
