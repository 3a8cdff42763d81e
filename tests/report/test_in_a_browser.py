"""The report in a browser without a network: it opens, asks nobody, and can be used with a keyboard and by ear."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from browser import hindrances

from benchmarks.support import judged_run
from benchmarks.support.chromium import Browser, Visit
from datagen import store
from datagen.commands.relabel import relabel
from datagen.commands.report import write

HOSTILE = {
    0: "</script><script>window.hurt = 1</script><img src=x onerror='window.hurt = 2'>",
    1: "{{ 7 * 7 }} ${7 * 7} &lt;b&gt; \x00\x07\x1b[31m",
    2: "\u202eתמונה של כיסא\u202c \u2067right to left\u2069",
    3: "word " * 2000,
    4: "W" * 10_000,
}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a run with hostile prompts, whose principle avoids a harm."""
    root = tmp_path_factory.mktemp("run")
    made, principle = judged_run._prompt, judged_run._principle
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            judged_run, "_prompt", lambda k: dataclasses.replace(made(k), prompt=HOSTILE.get(k, made(k).prompt))
        )
        patch.setattr(judged_run, "_principle", lambda: dataclasses.replace(principle(), kind="avoid"))
        judged_run.write(root, judged_run.recipe(40, changes=("labels.min_probability=0",)))
    relabel(store.Run(root), [])
    return write(root, None, False).path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1280])
def test_nothing_keeps_anybody_from_reading_it(browser: Browser, page: Path, width: int, scheme: str) -> None:
    def look(visit: Visit) -> None:
        visit.page.goto(page.as_uri())
        visit.page.wait_for_selector("#gallery-pairs .pair")
        assert hindrances(visit) == []
        assert visit.problems == [] and [url for url in visit.asked if not url.startswith("data:")] == [page.as_uri()]

    browser.visit(look, offline=True, viewport={"width": width, "height": 800}, color_scheme=scheme)


def test_hostile_prompts_are_text(browser: Browser, page: Path) -> None:
    def look(visit: Visit) -> None:
        visit.page.goto(page.as_uri())
        shown = visit.page.locator("#gallery-pairs .prompt").all_inner_texts()
        visit.page.get_by_label("Search").fill("window.hurt")
        assert visit.page.evaluate("window.hurt") is None
        assert visit.page.locator("#gallery-pairs .prompt").all_inner_texts() == [HOSTILE[0]]
        visit.page.get_by_label("Search").fill("כיסא")
        assert visit.page.locator("#gallery-pairs .pair").count() == 1
        assert len(shown) == 24 and visit.problems == []

    browser.visit(look, offline=True)


def test_it_can_be_used_without_a_mouse(browser: Browser, page: Path) -> None:
    def look(visit: Visit) -> None:
        visit.page.goto(page.as_uri())
        visit.page.keyboard.press("j")
        assert visit.page.evaluate("document.activeElement.className") == "pair"
        covered = visit.page.locator("#gallery-pairs .side.hidden")
        count = covered.count()
        assert count == visit.page.locator("#gallery-pairs .pair").count()  # rejected images show a harm
        covered.first.focus()
        visit.page.keyboard.press("Enter")
        assert covered.count() == count - 1
        visit.page.keyboard.press("/")
        assert visit.page.evaluate("document.activeElement.name") == "text"
        visit.page.get_by_label("Order").select_option("least")
        assert "40 of 40 pairs" in visit.page.locator("#found").inner_text()
        visit.page.get_by_role("button", name="Show more").click()
        assert visit.page.locator("#gallery-pairs .pair").count() == 40

    browser.visit(look, offline=True)
