"""`datagen report`: a run as a page that opens offline; whatever stands in a prompt is text on it."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from benchmarks.support import judged_run
from datagen import report as reports
from datagen import store
from datagen.commands.relabel import relabel
from datagen.commands.report import write
from datagen.errors import InputError, RunError
from datagen.report import thumbnails

HOSTILE = '</script><script>alert(1)</script><img src=x onerror="alert(2)"> {{ 7*7 }} & \u202etfel'
PROMPTS = 40


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A labelled run whose third prompt is hostile, and whose principle avoids a harm."""
    root = tmp_path_factory.mktemp("run")
    made, principle = judged_run._prompt, judged_run._principle
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            judged_run,
            "_prompt",
            lambda k: dataclasses.replace(made(k), prompt=HOSTILE, chosen_prompt=f"{HOSTILE}!") if k == 2 else made(k),
        )
        patch.setattr(judged_run, "_principle", lambda: dataclasses.replace(principle(), kind="avoid"))
        judged_run.write(root, judged_run.recipe(PROMPTS, changes=("labels.min_probability=0",)))
    relabel(store.Run(root), [])
    return root


@pytest.fixture(scope="module")
def page(run: Path) -> str:
    made = write(run, None, False)
    assert made.path == run / "report.html"
    return made.path.read_text(encoding="utf-8")


def rows(page: str) -> list[dict[str, Any]]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    said: list[dict[str, Any]] = json.loads(found[1])
    return said


def test_all_pairs_are_there_with_both_pictures_their_margins_and_their_probability(page: str, run: Path) -> None:
    found = rows(page)
    finished = {row["pair_id"]: row for k in range(3) for row in store.Run(run).table("pairs", k).to_pylist()}
    assert {row["pair_id"] for row in found} == set(finished) and len(found) == len(finished)
    for row in found:
        assert row["probability"] == pytest.approx(finished[row["pair_id"]]["probability"], abs=1e-6)
        assert all(picture.startswith("data:image/webp;base64,") for picture in row["pictures"])
        assert len(row["margins"]) == len(judged_run.JUDGES) and None not in row["margins"]


def test_a_hostile_prompt_is_text(page: str) -> None:
    assert "<script>alert" not in page and "<img src=x" not in page
    assert any(row["prompt"] == HOSTILE.replace("\u202e", "") for row in rows(page))


def test_the_page_asks_nobody_for_anything(page: str) -> None:
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None and policy[1].startswith("default-src &#39;none&#39;")
    outside = re.findall(r"(?:src|href|action)=[\"']?([^\"' >]+)", page.partition("<script")[0])
    assert all(address.startswith(("data:", "#")) for address in outside if not address.startswith("&"))


def test_pictures_that_show_a_harm_are_hidden_until_they_are_asked_for(page: str) -> None:
    assert all(row["harmful"] for row in rows(page))
    shown, _, _ = page.partition('id="gallery"')
    assert shown.count('class="side hidden"') == shown.count('<li class="pair"') > 0


def test_equal_runs_give_equal_pages(run: Path, page: str, tmp_path: Path) -> None:
    assert write(run, tmp_path / "again.html", False).path.read_text(encoding="utf-8") == page


def test_with_a_folder_the_pictures_lie_beside_the_page_and_only_what_is_ours_is_replaced(
    run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    made = write(run, out, True)
    found = rows(made.path.read_text(encoding="utf-8"))
    assert made.path == out / "index.html"
    assert all((out / picture).is_file() for row in found for picture in row["pictures"])
    assert len(list((out / "pictures").iterdir())) == 2 * len(found)
    write(run, out, True)
    (other := tmp_path / "other").mkdir()
    (other / "mine.txt").write_text("mine")
    with pytest.raises(RunError, match="holds something that is not a report"):
        write(run, other, True)
    assert (other / "mine.txt").read_text() == "mine"


def test_a_page_takes_so_many_pictures_as_its_bound_allows_and_says_how_many(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "INLINE_BYTES", 20_000)
    made = write(run, tmp_path / "small.html", False)
    text = made.path.read_text(encoding="utf-8")
    assert 0 < made.shown == len(rows(text)) < made.pairs
    assert f"{made.shown} of {made.pairs} pairs" in text
    assert sum(len(picture) for row in rows(text) for picture in row["pictures"]) <= 20_000


@pytest.mark.parametrize("few", [1, 2, 5, 1_000])
def test_no_more_pictures_are_made_than_about_so_many_as_are_shown_and_the_page_is_the_same(
    few: int, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = list[object]()
    small = thumbnails.small
    monkeypatch.setattr(thumbnails, "small", lambda source: made.append(source) or small(source))
    monkeypatch.setattr(reports, "INLINE_BYTES", 20_000)
    monkeypatch.setattr(reports, "FEW", few)
    page = write(run, tmp_path / "page.html", False)
    few_made = len(made)
    monkeypatch.setattr(reports, "FEW", 10_000)
    all_ = write(run, tmp_path / "all.html", False)
    assert page.path.read_text(encoding="utf-8") == all_.path.read_text(encoding="utf-8")
    assert 2 * page.shown <= few_made <= 2 * max(page.shown + few + page.shown // 2 + 1, few)


def test_long_texts_take_their_part_of_what_a_page_may_hold(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "INLINE_BYTES", 9_000)
    for folder in (False, True):
        made = write(run, tmp_path / ("pages" if folder else "page.html"), folder)
        data = rows(made.path.read_text(encoding="utf-8"))
        texts = sum(len(json.dumps(row | {"pictures": []}, ensure_ascii=False)) for row in data)
        assert 0 < made.shown == len(data) < made.pairs and texts <= 9_000 + 200 * len(data)
        if folder:
            assert len(list((made.path.parent / "pictures").iterdir())) == 2 * made.shown


def test_a_picture_that_cannot_be_read_is_said_and_no_other_is_lost(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = thumbnails.small
    calls = iter(range(10_000))
    monkeypatch.setattr(thumbnails, "small", lambda data: small(b"broken" if next(calls) == 0 else data))
    found = rows(write(run, tmp_path / "p.html", False).path.read_text(encoding="utf-8"))
    broken = [row for row in found if any(row["errors"])]
    assert len(broken) == 1 and len([p for p in broken[0]["pictures"] if not p]) == 1


def test_what_is_no_finished_run_and_what_published_nothing_is_said(tmp_path: Path, run: Path) -> None:
    with pytest.raises(RunError, match="not a run directory"):
        write(tmp_path, None, False)
    with pytest.raises(InputError, match="is a folder: give the name of a file"):
        write(run, tmp_path, False)
    with pytest.raises(InputError, match=r"page would be shown as text: give a name that ends in \.html"):
        write(run, tmp_path / "page", False)
    judged_run.write(tmp_path / "judged", judged_run.recipe(4))
    with pytest.raises(RunError, match="not finished"):
        write(tmp_path / "judged", None, False)
    relabel(store.Run(tmp_path / "judged"), ["labels.min_probability=1"])
    with pytest.raises(RunError, match="published no pair"):
        write(tmp_path / "judged", None, False)
    assert not (tmp_path / "judged" / "report.html").exists()


@pytest.mark.skipif(not shutil.which("chromium"), reason="no chromium on this machine")
def test_in_a_browser_the_gallery_is_drawn_nothing_runs_from_a_prompt_and_nothing_is_reported(
    run: Path, page: str, tmp_path: Path
) -> None:
    command = [
        "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000",
        "--enable-logging=stderr", f"--user-data-dir={tmp_path}", "--dump-dom", (run / "report.html").as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    gallery = done.stdout.partition('id="gallery-pairs"')[2].partition("</ul><button")[0]
    assert gallery.count('<li class="pair"') == 24
    assert re.search(r'role="status">(\d+) of \1 pairs', done.stdout)
    assert not [line for line in done.stderr.splitlines() if "CONSOLE" in line]
