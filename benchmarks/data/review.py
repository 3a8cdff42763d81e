"""A review that is killed in the middle: whether an answer is lost, and whether the labels are as without the kill.

`python -m benchmarks review [PAIRS]`. Two equal runs of 1,000 prompts, whose truth is known, are reviewed in a driven
Chromium, by keys: so many pairs, answered by the truth. One of the reviews is killed, with -9, some ten times, each
time right after a key was pressed, and started again. Lost is an answer that the page had shown as kept and that is
not in the file. Then both are finished, and the rows of their labels and pairs are compared.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.support import judged_run
from benchmarks.support.chromium import Browser, Visit
from benchmarks.support.results import Row, record
from datagen import store
from datagen.commands.relabel import relabel
from datagen.review import journal as journals
from datagen.review.journal import Journal

PROMPTS = 1000
EVERY = 29  # answers between two kills
SHOWS = "(id) => document.getElementById('left').src.includes(id)"
COUNTS = "(done) => document.getElementById('bar').value === done"
READY = "document.getElementById('progress').textContent !== ''"


class Page:
    """A `datagen review` in a process of its own, and what it says."""

    def __init__(self, root: Path, count: int) -> None:
        line = [sys.executable, "-m", "datagen", "review", str(root), "--count", str(count)]
        self.process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        for said in self.process.stderr:
            if found := re.search(r"open (http://\S+)", said):
                self.address = found[1]
                return
        sys.exit(f"the review of {root} did not start")

    def kill(self) -> None:
        """With -9."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def lines(self) -> list[str]:
        """What it printed at its end."""
        said, _ = self.process.communicate()
        return said.splitlines() if self.process.returncode == 0 else sys.exit("the review ended with an error")


@dataclasses.dataclass
class Course:
    """How a review went."""

    lost: int = 0
    kills: int = 0
    seconds: list[float] = dataclasses.field(default_factory=list)  # from each key to the next pair
    lines: list[str] = dataclasses.field(default_factory=list)  # that were printed at the end


def reviewed(browser: Browser, root: Path, count: int, truth: Mapping[str, bool], every: int | None) -> Course:
    """Review a run, whose process is killed after `every` so many answers."""
    course = Course()
    while True:
        page = Page(root, count)
        look = functools.partial(answered, page=page, root=root, truth=truth, every=every, course=course)
        if browser.visit(look):
            course.lines = page.lines()
            return course


def answered(
    visit: Visit, page: Page, root: Path, truth: Mapping[str, bool], every: int | None, course: Course
) -> bool:
    """Answer until the next kill; whether all are answered."""
    visit.page.goto(page.address)
    visit.page.wait_for_function(READY)
    journal = Journal(root / journals.FILE)
    kept = dict(journal.answers)
    for number, pair in enumerate(pair for pair in journal.planned if pair.pair_id not in journal.answers):
        visit.page.wait_for_function(SHOWS, arg=pair.pair_id)
        started = time.perf_counter()
        visit.page.keyboard.press("2" if truth[pair.prompt_id] == pair.turned else "1")
        if number == every:
            page.kill()
            course.kills += 1
            course.lost += lost(kept, root)
            return False
        visit.page.wait_for_function(COUNTS, arg=len(kept) + 1)
        course.seconds.append(time.perf_counter() - started)
        kept[pair.pair_id] = "chosen" if truth[pair.prompt_id] else "rejected"
    course.lost += lost(kept, root)
    visit.page.click("#end")
    visit.page.wait_for_selector("#outcome:not([hidden])", timeout=600_000)
    return True


def lost(kept: Mapping[str, str], root: Path) -> int:
    """How many of these answers are not in the file."""
    return len(kept.items() - Journal(root / journals.FILE).answers.items())


def rows_of(root: Path) -> list[str]:
    """The hashes of the rows of labels and pairs; the files' footers hold seconds besides."""
    run, names = store.Run(root), ("labels", "pairs")
    footers = [run.footer(name, k) for name in names for k in range(len(list(root.glob(f"tables/{name}/*.parquet"))))]
    return [footer.content for footer in footers if footer is not None]


def main() -> int:
    """Print the figures; 1 if an answer is lost or the labels differ."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks review", description=__doc__, allow_abbrev=False)
    parser.add_argument("pairs", nargs="?", type=int, default=300)
    pairs = parser.parse_args().pairs
    with tempfile.TemporaryDirectory(prefix="review-") as scratch, Browser() as browser:
        plain, killed = Path(scratch) / "plain", Path(scratch) / "killed"
        true = judged_run.write(plain, judged_run.recipe(PROMPTS, 100, ("labels.min_probability=0.8",)), seed=1)
        names = store.Run(plain).table("prompts", 0, ["prompt_id"])["prompt_id"].to_pylist()
        truth = dict(zip(names, map(bool, true), strict=True))
        relabel(store.Run(plain), [])
        shutil.copytree(plain, killed)
        without = reviewed(browser, plain, pairs, truth, None)
        found = reviewed(browser, killed, pairs, truth, EVERY)
        equal = rows_of(plain) == rows_of(killed)
        answers = [Journal(root / journals.FILE).answers for root in (plain, killed)]
    print("\n".join(without.lines))
    note = f"{pairs} pairs of {PROMPTS}, {found.kills} kills"
    others = float(len(answers[0].items() ^ answers[1].items()))
    spread = f"{min(without.seconds):.2f}–{max(without.seconds):.2f}"
    rows = [
        Row("answers lost", float(found.lost), "", "= 0", note=note),
        Row("answers that differ from those without a kill", others, "", "= 0", note=note),
        Row("labels and pairs as without a kill", float(equal), "", "= 1", note="1: the same rows"),
        Row("from a key to the next pair", statistics.median(without.seconds), "s", spread=spread),
    ]
    for row in rows:
        print(row)
    record("review", rows)
    return 0 if all(row.reached is not False for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
