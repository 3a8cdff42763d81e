"""A run as it goes on: shards, rates, time left, money, failures by reason, and who works; in place on a terminal.

Elsewhere a line for each stage at work, every ten seconds. It only reads, so it may watch from another machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from datagen import progress, store
from datagen import recipe as recipes
from datagen.llm import LEDGER
from datagen.llm.accounts import money
from datagen.pipeline import plan
from datagen.pipeline.plan import Plan
from datagen.store import sums

EVERY_S, PLAIN_EVERY_S = 2.0, 10.0
SHARE = 5  # of the time, at most one part in so many goes into looking
MOST = 8  # lines of reasons, and of workers


class Watched:
    """What is known of a run, and what was when it was first looked at."""

    def __init__(self, root: Path) -> None:
        self.run = store.Run(root)
        settings = self.run.started()
        self.recipe, self.profile = recipes.of_run(settings)
        self.digest = settings["digest"]
        self._first: dict[str, tuple[float, int]] = {}  # stage → when its shards were first seen, and how many then
        self.look()

    def look(self) -> None:
        """Read what is there now."""
        self.plans = plan.of_run(self.run, self.recipe, self.digest)
        self.holder = store.holder(self.run)
        now = time.monotonic()
        for found in self.plans:
            if found.shards and found.stage.name not in self._first:
                self._first[found.stage.name] = now, len(found.done)

    @property
    def is_over(self) -> bool:
        """Whether nobody works on it and nothing is left to do."""
        folder = self.run.dataset
        if self.run.address:
            whole = self.run.files.has(sums.beside(folder))
        else:
            whole = folder.is_dir() and not list(sums.differences(folder, contents=False))
        return not self.holder and whole and not any(found.missing for found in self.plans)

    def pace(self, found: Plan) -> str:
        """Rate and time left of a stage's shards, since it was first looked at."""
        then, before = self._first.get(found.stage.name, (time.monotonic(), 0))
        return progress.pace(len(found.done) - before, len(found.missing), time.monotonic() - then)

    def lines(self) -> Iterator[str]:
        """What stands under the table."""
        for found in self.plans:
            for reason, count in list(found.reasons().items())[:MOST]:
                yield f"{found.stage.name} failed: {count} × {reason}"
        at_work = next((found for found in self.plans if found.missing and found.shards), None)
        if at_work is not None:
            workers = sorted(at_work.workers().items(), key=lambda item: -item[1][0])
            for name, (count, seconds) in workers[:MOST]:
                yield f"{at_work.stage.name} by {name}: {count} shards, {seconds / count:.1f} s each"
            if len(workers) > MOST:
                yield f"{at_work.stage.name} by {len(workers) - MOST} more workers"
        for damaged in (shard for found in self.plans for shard in found.damaged):
            yield f"damaged: {damaged.path} ({damaged.why})"


def watch(root: Path, console: Console, sleep: Callable[[float], None] = time.sleep) -> None:
    """Show a run until it is finished; RunError if it is none."""
    watched = Watched(root)
    if console.is_terminal:
        with Live(_page(watched), console=console, auto_refresh=False, transient=False) as live:
            for _ in _looks(watched, EVERY_S, sleep):
                live.update(_page(watched), refresh=True)
    else:
        for _ in _looks(watched, PLAIN_EVERY_S, sleep):
            for line in _plain(watched):
                console.print(line, highlight=False, markup=False, soft_wrap=True)


def _looks(watched: Watched, every: float, sleep: Callable[[float], None]) -> Iterator[None]:
    """Look again and again until nothing is left to see."""
    took = 0.0
    while True:
        yield
        if watched.is_over:
            return
        sleep(max(every, SHARE * took))
        begun = time.monotonic()
        watched.look()
        took = time.monotonic() - begun


def _page(watched: Watched) -> RenderableType:
    spent = money.totals(watched.run.root / LEDGER)
    cost = sum(one.cost for one in spent.values())
    table = Table("stage", "shards", "rows", "errors", "pace")
    for found in watched.plans:
        shards = f"{len(found.done)}/{len(found.shards) or '?'}"
        rows, errors = str(found.total("rows")), str(found.total("errors"))
        table.add_row(found.stage.name, shards, rows, errors, watched.pace(found))
    head = f"{watched.recipe.name} on {watched.profile}: {watched.holder or 'nobody works on it'}"
    money_line = [f"spent: ${cost:.4f}"] if spent else []
    return Group(Text(head), table, *map(Text, [*money_line, *watched.lines()]))


def _plain(watched: Watched) -> Iterator[str]:
    """The stages that are at work, a line each, and what failed."""
    for found in watched.plans:
        if found.shards and found.missing and (found.done or found is watched.plans[0]):
            yield f"{found.stage.name}: {len(found.done)}/{len(found.shards)} {watched.pace(found)}".rstrip()
    if watched.is_over:
        yield f"finished: {watched.run.files.name(watched.run.dataset)}"
    yield from watched.lines()
