"""The page of a review in a browser: keys answer, pictures tell nothing, and all of it can be used by everybody."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from browser import hindrances
from PIL import Image

from benchmarks.support.chromium import Browser, Visit
from datagen.images.encode import encode
from datagen.review.journal import Journal
from datagen.review.outcome import Fit, JudgeChange, Outcome
from datagen.review.pictures import Shown
from datagen.review.server import Server
from datagen.review.session import Asked, Session
from tests.review.test_session import PAIRS, begun

FIT = Fit(0.9, 0.8, 0.1, 0.2)
OUTCOME = Outcome(
    {"chosen": 3}, (0.8, 0.7, 0.9), FIT, FIT, [JudgeChange("clip", 0.75, 4, 0.8, None)], ["<b>a note</b>"], 0.5, (3, 2)
)
TEXTS = {
    "p0": Asked("a chair </script><script>window.hurt = 1</script>", "calm preferred.", False),
    "p1": Asked("כיסא " + "W" * 9000, "calm preferred.", False),
    "p2": Asked("a scene", "smoke considered inappropriate.", True),
    "p3": Asked("a chair", "calm preferred.", False),
}


class Pictures:
    """Flat pictures; one of the last pair's cannot be read."""

    def both(self, pair: object) -> tuple[Shown, Shown]:
        one, other = (Shown(encode(Image.new("RGB", (64, 64), colour), "webp")) for colour in ("navy", "gold"))
        return (one, Shown(b"", "the image is empty (0 bytes)")) if pair == PAIRS[3] else (one, other)


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, Journal]]:
    """The address of a page in a thread of its own."""
    journal = begun(folder).journal
    session = Session(journal, TEXTS, Pictures())  # type: ignore[arg-type]
    address, ready = list[str](), threading.Event()
    ended: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[None]]] = []

    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        ended.append((asyncio.get_running_loop(), task))
        await Server(session, "a run", lambda: OUTCOME).serve(0, lambda at: (address.append(at), ready.set()))  # type: ignore[func-returns-value]

    def run() -> None:
        try:
            asyncio.run(main())
        except asyncio.CancelledError:
            pass

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(20)
    try:
        yield address[0], journal
    finally:
        loop, task = ended[0]
        if thread.is_alive():
            loop.call_soon_threadsafe(task.cancel)
        thread.join(20)
    assert not thread.is_alive()


def press(visit: Visit, key: str, done: str) -> None:
    visit.page.wait_for_selector("#question:not([hidden])")
    visit.page.keyboard.press(key)
    visit.page.wait_for_function("done => document.getElementById('progress').textContent === done", arg=done)


def test_keys_answer_undo_takes_back_and_the_end_tells_what_changed(browser: Browser, tmp_path: Path) -> None:
    def look(visit: Visit) -> None:
        page = visit.page
        page.goto(address)
        press(visit, "1", "1 of 4")
        press(visit, "1", "2 of 4")
        assert list(journal.answers.values()) == ["chosen", "rejected"]  # the second is turned
        press(visit, "u", "1 of 4")
        press(visit, "t", "2 of 4")
        assert "are-covered" in (page.locator("#question").get_attribute("class") or "")
        page.keyboard.press("v")
        assert "are-covered" not in (page.locator("#question").get_attribute("class") or "")
        press(visit, "b", "3 of 4")
        page.keyboard.press("1")  # an image of this pair cannot be read
        assert page.locator("#error-right").inner_text().startswith("This image cannot be shown: the image is empty")
        assert page.get_by_role("button", name="Left is better").is_disabled()
        press(visit, "s", "4 of 4")
        assert list(journal.answers.values()) == ["chosen", "tie", "both bad", "skip"]
        page.get_by_role("button", name="Finish and calibrate").click()
        page.wait_for_selector("#outcome:not([hidden])")
        assert page.evaluate("document.activeElement.id") == "h-outcome"
        assert page.locator("#notes").inner_text() == "<b>a note</b>"
        assert page.locator("#judges").inner_text().split() == ["clip", "75.0", "%", "of", "4", "0.800", "–"]
        assert hindrances(visit) == [] and visit.problems == []
        assert page.evaluate("window.hurt") is None
        assert all(url.startswith(address.partition("/p")[0]) for url in visit.asked)

    with served(tmp_path) as (address, journal):
        browser.visit(look)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1280])
def test_nothing_keeps_anybody_from_answering(browser: Browser, tmp_path: Path, width: int, scheme: str) -> None:
    def look(visit: Visit) -> None:
        visit.page.goto(address)
        visit.page.wait_for_selector("#question:not([hidden])")  # before it the bar stands at 0 too
        for done in range(4):
            visit.page.wait_for_function("done => document.getElementById('bar').value === done", arg=done)
            assert hindrances(visit) == [], done
            visit.page.keyboard.press("s")
        visit.page.wait_for_selector("#finish:not([hidden])")
        assert hindrances(visit) == [] and visit.problems == []

    with served(tmp_path) as (address, _):
        browser.visit(look, viewport={"width": width, "height": 800}, color_scheme=scheme)


def test_a_browser_that_is_closed_loses_nothing_and_a_second_window_is_told(browser: Browser, tmp_path: Path) -> None:
    def first(visit: Visit) -> None:
        visit.page.goto(address)
        press(visit, "2", "1 of 4")

    def second(visit: Visit) -> None:
        visit.page.goto(address)
        visit.page.wait_for_function("document.getElementById('progress').textContent === '1 of 4'")
        other = visit.page.context.new_page()
        other.goto(address)
        other.wait_for_selector("#question:not([hidden])")
        press(visit, "1", "2 of 4")
        other.keyboard.press("2")
        other.wait_for_selector("#problem:not([hidden])")
        assert "answered already, in another window" in other.locator("#problem").inner_text()

    with served(tmp_path) as (address, journal):
        browser.visit(first)
        browser.visit(second)
        assert list(journal.answers.values()) == ["rejected", "rejected"]


def test_a_server_that_has_ended_is_said(browser: Browser, tmp_path: Path) -> None:
    def look(visit: Visit) -> None:
        with served(tmp_path) as (address, _):
            visit.page.goto(address)
            visit.page.wait_for_selector("#question:not([hidden])")
        visit.page.keyboard.press("1")
        visit.page.wait_for_selector("#problem:not([hidden])")
        assert "start the same command again" in visit.page.locator("#problem").inner_text()

    browser.visit(look)
    assert not begun(tmp_path).journal.answers
