"""A finished run in another format: `export_run` reads the run directory and fills a folder of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from datagen import export, store
from datagen import recipe as recipes
from datagen.export.parts.mark import Mark
from datagen.pipeline import build
from datagen.progress import Progress


def export_run(
    root: Path,
    name: str,
    folder: Path,
    say: Callable[[str], None] = lambda line: None,
    control: str = "",
    *,
    mark: Mark | None = None,
    progress: Progress = lambda what, done, total: None,
) -> bool:
    """Write the pairs of the run `root` in the format `name` into `folder`; False if it is there already.

    With `control` they have the labels of that arm in the place of the real ones; pictures get the `mark`, except in
    the folders that the run keeps itself, whose files are named after what they hold.

    Raises InputError for an unknown format, RunError for what is not a finished run or a folder with other files.
    """
    run = store.Run(root)
    settings = run.started()
    export.FORMATS.check(name)
    recipe, profile = recipes.of_run(settings)
    finished = build.finished(run, settings["digest"], recipe, profile, progress)
    finished = export.arm(finished, control) if control else finished
    if mark is not None and name != export.LISTS and folder.resolve() != run.dataset.resolve():
        finished = export.marked(finished, mark)
    return export.write(finished, name, folder, say)
