"""The report of a large run: its size, how long it takes to write, and how it opens in a browser without a network.

`python -m benchmarks report [PAIRS]`. The pictures are noisy ones of 256 px, as thumbnails of photographs are no
smaller. The page is opened in Chromium, offline, at two widths and in both colour schemes: when it is first painted,
what its console says, whom it asks, whether it scrolls sideways, and what two checkers of accessibility find: our own,
and axe-core, which npm brings into a folder that is thrown away; without npm, its row is left out.
"""

from __future__ import annotations

import argparse
import functools
import io
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from benchmarks.support import chromium, judged_run
from benchmarks.support.chromium import Browser, Visit
from benchmarks.support.results import Row, record
from datagen import report, store
from datagen.commands import report as reports
from datagen.commands.relabel import relabel

KINDS = 64  # pictures that are drawn; each image is one of them
SIDE = 256
OPENED = 5  # times, for the median
AXE = "4.14.1"
Result = TypeVar("Result")
VIEWS: list[dict[str, Any]] = [
    {"viewport": {"width": width, "height": 800}, "color_scheme": scheme}
    for width in (375, 1280)
    for scheme in ("light", "dark")
]


@functools.cache
def drawn(kind: int) -> bytes:
    """A picture with large shapes and fine noise."""
    rng = np.random.default_rng(kind)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize(
        (SIDE, SIDE), Image.Resampling.BICUBIC
    )
    noisy = np.asarray(coarse, dtype=np.int16) + rng.integers(-16, 17, (SIDE, SIDE, 3))
    file = io.BytesIO()
    Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=85)
    return file.getvalue()


def timed(act: Callable[[], Result]) -> tuple[float, Result]:
    """Seconds of processor time, of all threads, and what came of it."""
    started = time.process_time()
    made = act()
    return time.process_time() - started, made


def painted(visit: Visit, page: Path) -> float:
    """Seconds from the navigation to the first content on the screen."""
    visit.page.goto(page.as_uri())
    visit.page.wait_for_selector("#gallery-pairs .pair")
    milliseconds: float = visit.page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    return milliseconds / 1000


def axe(folder: Path) -> str | None:
    """axe-core's script, by npm; None where there is no npm or it fails."""
    if shutil.which("npm") is None:
        return None
    line = ["npm", "install", "--no-save", "--ignore-scripts", "--prefix", str(folder), f"axe-core@{AXE}"]
    if subprocess.run(line, check=False, stdout=subprocess.DEVNULL).returncode:
        return None
    return (folder / "node_modules/axe-core/axe.min.js").read_text(encoding="utf-8")


def serious(visit: Visit, script: str) -> list[str]:
    """What axe-core finds serious or critical."""
    visit.page.evaluate(script)
    found: list[dict[str, Any]] = visit.page.evaluate("axe.run().then((said) => said.violations)")
    return [f"{one['id']}: {one['help']}" for one in found if one["impact"] in ("serious", "critical")]


def opened(browser: Browser, page: Path, script: str | None) -> dict[str, list[str]]:
    """What is wrong with a page in any view, by who says so."""
    wrong: dict[str, list[str]] = {"console": [], "asked": [], "ours": [], "axe": []}

    def look(visit: Visit) -> None:
        painted(visit, page)
        wrong["console"] += visit.problems
        # Pictures that lie beside the page are its own.
        own = (page.parent.as_uri(), "data:")
        wrong["asked"] += [url for url in visit.asked if not url.startswith(own)]
        wrong["ours"] += visit.page.evaluate(Path(chromium.__file__).with_name("accessible.js").read_text())
        wrong["axe"] += serious(visit, script) if script else []

    for view in VIEWS:
        # A page's policy would keep the checker out; what the policy does is shown by the tests.
        browser.visit(look, offline=True, bypass_csp=True, **view)
    return wrong


def main() -> int:
    """Print the figures; 1 if the page is too large, too slow, or anything is wrong with it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks report", description=__doc__, allow_abbrev=False)
    parser.add_argument("pairs", nargs="?", type=int, default=10_000)
    pairs = parser.parse_args().pairs
    with tempfile.TemporaryDirectory(prefix="report-") as scratch:
        root, folder = Path(scratch) / "run", Path(scratch) / "folder"
        judged_run.write(
            root,
            judged_run.recipe(pairs, 500, ("labels.min_probability=0",)),
            draw=lambda name: drawn(int(name[:8], 16) % KINDS),
        )
        relabel(store.Run(root), [])
        audit, told = timed(lambda: reports.told(root))
        seconds, made = timed(lambda: report.write(told, root / reports.NAME))
        beside, all_ = timed(lambda: report.write(told, folder, folder=True))
        pages, size = [made.path, all_.path], made.path.stat().st_size / 1e6
        script = axe(Path(scratch) / "axe")
        with Browser() as browser:
            paints = [
                [browser.visit(functools.partial(painted, page=page), offline=True) for _ in range(OPENED)]
                for page in pages
            ]
            wrong = [opened(browser, page, script) for page in pages]
    for page, found in zip(("one file", "folder"), wrong, strict=True):
        print(page, json.dumps({who: sorted(set(said))[:5] for who, said in found.items() if said}))
    count = {who: float(sum(len(found[who]) for found in wrong)) for who in wrong[0]}
    views = f"{pairs} pairs; one file and a folder, each at 375 and 1280 px, light and dark"
    rows = [
        Row("size of the page", size, "MB", "≤ 22", note=f"it shows {made.shown} of the pairs"),
        Row("writing it", seconds, "CPU s"),
        Row("writing it with its pictures in a folder", beside, "CPU s", note=f"it shows {all_.shown} of them"),
        Row("the audit that it tells of", audit, "CPU s", note=f"{2 * pairs} pictures of {SIDE} px"),
        *(
            Row(f"first paint, {name}", statistics.median(found), "s", "≤ 2", f"{min(found):.2f}–{max(found):.2f}")
            for name, found in zip(("one file", "folder"), paints, strict=True)
        ),
        Row("errors on the console", count["console"], "", "= 0", note=views),
        Row("requests besides its own files", count["asked"], "", "= 0", note=views),
        Row("hindrances found by our checker", count["ours"], "", "= 0", note=views),
    ]
    if script:
        rows.append(Row("serious findings of axe-core", count["axe"], "", "= 0", note=f"axe-core {AXE}; {views}"))
    for row in rows:
        print(row)
    record("report", rows)
    return 0 if all(row.reached is not False for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
