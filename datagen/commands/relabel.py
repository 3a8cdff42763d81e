"""Labels a run anew by other rules of [labels]: no image is drawn and nobody is asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from datagen import recipe as recipes
from datagen import store
from datagen.pipeline import build
from datagen.pipeline.plan import Summary
from datagen.progress import Progress


def relabel(
    run: store.Run,
    overrides: Sequence[str],
    *,
    workers: int = 1,
    say: Callable[[str], None] = lambda line: None,
    progress: Progress = lambda what, done, total: None,
) -> Summary:
    """Apply `labels.KEY=VALUE` to a run, which keeps them; an interrupted call is taken up by the next, or by the run.

    Raises RecipeError for any other key, RunError if the run is not judged.
    """
    recipe, _ = recipes.of_run(run.started())
    changes = recipes.label_changes(recipe, list(overrides))
    return build.relabel(run, changes, workers=workers, say=say, progress=progress)
