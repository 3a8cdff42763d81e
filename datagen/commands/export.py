"""A finished run in another format: `export_run` reads the run directory and fills a folder of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from datagen import export, store
from datagen import recipe as recipes
from datagen.pipeline import build


def export_run(
    root: Path, name: str, folder: Path, say: Callable[[str], None] = lambda line: None, control: str = ""
) -> bool:
    """Write the pairs of the run `root` in the format `name` into `folder`; False if it is there already.

    With `control` they have the labels of that arm in the place of the real ones.

    Raises InputError for an unknown format, RunError for what is not a finished run or a folder with other files.
    """
    run = store.Run(root)
    settings = run.started()
    export.FORMATS.check(name)
    recipe, profile = recipes.of_run(settings)
    finished = build.finished(run, settings["digest"], recipe, profile)
    return export.write(export.arm(finished, control) if control else finished, name, folder, say)
