"""An image server that fails in every way, and runs that are killed with -9: what is lost, bought twice, or overspent.

The server (a process of its own) answers 20 % of the calls with 429, 5 % with 500, and drops 2 % half-way through a
picture that it bills. `datagen run` draws 500 images with it, is killed three times at work and ends by itself; then
once more with a --max-cost that does not suffice.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.support.results import Row, record

FAULTS: dict[str, Any] = {"busy": 0.2, "error": 0.05, "drop": 0.02, "delay": 0.05}
CONCURRENCY, KILLS, DOLLARS = 32, 3, 0.04
RECIPE = """
name = "drawn-elsewhere"
license = "cc0-1.0"
pairing = "contrast"
[prompts]
count = {prompts}
test_share = 0.0
[profiles.served]
model = "endpoint:flat"
taxonomy = "world-styles"
principles = ["pixel-art"]
grammar = "world-styles"
steps = 20
guidance = 4.0
width = 64
height = 64
judges = ["world"]
"""


@contextlib.contextmanager
def server(folder: Path) -> Iterator[str]:
    """The URL of a server whose log is `folder`/log."""
    log, told = folder / "log", folder / "url"
    log.touch()
    command = [sys.executable, "-m", "benchmarks.support.picture_server", str(log), str(told), json.dumps(FAULTS)]
    child = subprocess.Popen(command, start_new_session=True)
    try:
        while not told.exists() or not told.read_text():
            time.sleep(0.05)
        yield told.read_text()
    finally:
        child.kill()
        child.wait()


def fates(folder: Path) -> collections.Counter[str]:
    """How often each fate befell a call so far."""
    return collections.Counter(json.loads(line)["fate"] for line in (folder / "log").read_text().splitlines())


def sold(folder: Path) -> list[str]:
    """The pictures that left the server whole, but for the test pictures: text and seed of each."""
    calls = [json.loads(line) for line in (folder / "log").read_text().splitlines()]
    return [json.dumps(call["call"]) for call in calls if call["fate"] == "sold" and call["call"][0] != "a chair"]


def run(folder: Path, url: str, *options: str) -> subprocess.Popen[str]:
    """`datagen run` of the recipe, with a cache of its own and a server that wants money."""
    (folder / "prices.toml").write_text(f'[models."flat"]\npicture = {DOLLARS}\n')
    environment = os.environ | {
        "DATAGEN_IMAGES_BASE_URL": url, "DATAGEN_IMAGES_CONCURRENCY": str(CONCURRENCY),
        "DATAGEN_PRICES": str(folder / "prices.toml"), "DATAGEN_CACHE": str(folder / "cache"),
    }  # fmt: skip
    command = [sys.executable, "-m", "datagen", "run", str(folder / "recipe.toml"), "--out", str(folder / "run")]
    return subprocess.Popen(
        [*command, *options], env=environment, start_new_session=True, text=True, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )  # fmt: skip


def rows(folder: Path) -> list[Any]:
    """The image rows of the run."""
    from datagen import store
    from datagen.records import Image

    found, shard = store.Run(folder / "run"), 0
    made: list[Any] = []
    while found.footer("images", shard) is not None:
        made += found.rows("images", shard, Image)
        shard += 1
    return made


def killed(folder: Path, url: str, images: int) -> list[Row]:
    """Three kills, and a run to the end."""
    for kill in range(KILLS):
        child = run(folder, url)
        while len(sold(folder)) < images * (kill + 1) // (KILLS + 1) and child.poll() is None:
            time.sleep(0.02)
        if child.poll() is not None:
            sys.exit(f"the run ended by itself before kill {kill + 1}: {child.communicate()[1]}")
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    last = run(folder, url)
    said = last.communicate()[1]
    made, bought = rows(folder), collections.Counter(sold(folder))
    again = bought.total() - len(bought)
    print(f"server: {dict(fates(folder))}; the last run ended with {last.returncode} {said.strip()[-200:]}")
    return [
        Row("image rows", len(made), "rows", f"= {images}", note="20 % 429, 5 % 500, 2 % dropped; three kills -9"),
        Row("rows with neither image nor error", sum(not (row.image or row.error) for row in made), "rows", "= 0"),
        Row("rows with a content error", sum(row.error is not None for row in made), "rows"),
        Row(
            "pictures bought twice", again, "pictures", f"≤ {KILLS * CONCURRENCY}", note="goal: in flight at the kills"
        ),
    ]


def bounded(folder: Path, url: str, dollars: int) -> list[Row]:
    """A run whose budget ends before its images do."""
    last = run(folder, url, "--max-cost", str(dollars))
    said = last.communicate()[1]
    found = fates(folder)
    print(f"--max-cost {dollars:g}: exit code {last.returncode}, {said.strip()[-200:]}")
    billed = DOLLARS * (found["sold"] + found["drop"])
    return [Row(f"billed under --max-cost {dollars:g}", billed, "dollars", f"≤ {dollars:g}")]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks picture_faults", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("--images", type=int, default=500)
    given = parser.parse_args()
    measured: list[Row] = []
    for case, most in ((killed, given.images), (bounded, 4)):
        with tempfile.TemporaryDirectory() as name, server(Path(name)) as url:
            folder = Path(name)
            (folder / "recipe.toml").write_text(RECIPE.format(prompts=given.images // 2))
            measured += case(folder, url, most)
    for row in measured:
        print(f"{row.what}: {row.figure:g} {row.unit} {row.goal}")
    record("picture_faults", measured)
    return 0


if __name__ == "__main__":
    sys.exit(main())
