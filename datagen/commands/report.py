"""`datagen report`: a finished run as an HTML page, with its audit, its cost and its pairs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datagen import recipe as recipes
from datagen import records, report, store
from datagen.commands import audit as audits
from datagen.errors import InputError
from datagen.llm import LEDGER
from datagen.llm.accounts import money
from datagen.pipeline import build, plan
from datagen.progress import Progress
from datagen.report import Report
from datagen.report.page import Told

NAME = "report.html"
FOLDER = "report"
NAMED = (".html", ".htm")  # browsers go by the name of a file on a disk


def write(root: Path, out: Path | None, folder: bool, progress: Progress = lambda what, done, total: None) -> Report:
    """Write the page of a run, beside its dataset if no place is given; RunError if the run is not finished."""
    if out is None and (address := store.Run(root).address):
        raise InputError(f"{address} is on an object store: say where on this machine the page is to be, with --out")
    where = out or root / (FOLDER if folder else NAME)
    if not folder and where.is_dir():
        raise InputError(f"{where} is a folder: give the name of a file to write, or --folder to fill a folder")
    if not folder and where.suffix.lower() not in NAMED:
        raise InputError(f"{where} would be shown as text: give a name that ends in .html, or --folder")
    return report.write(told(root, progress), where, folder=folder, progress=progress)


def told(root: Path, progress: Progress = lambda what, done, total: None) -> Told:
    """What is told of a finished run, with its audit; RunError if it is not finished."""
    run = store.Run(root)
    settings = run.started()
    recipe, profile = recipes.of_run(settings)
    finished = build.finished(run, settings["digest"], recipe, profile)
    found, _ = audits.audit(root, progress)
    return Told(finished, list(_stages(run, recipe, settings["digest"])), found)


def _stages(run: store.Run, recipe: recipes.Recipe, digest: str) -> Iterator[dict[str, Any]]:
    """What each stage made, what it took, and what it left out."""
    spent = money.totals(run.root / LEDGER)
    for done in plan.of_run(run, recipe, digest):
        paid = spent.get(done.stage.name)
        yield {
            "name": done.stage.name,
            "rows": done.total("rows"),
            "errors": done.total("errors"),
            "seconds": done.total("seconds"),
            "cost": None if paid is None else paid.cost + paid.at_most,
            "left_out": records.in_words(done.drops()),
        }
