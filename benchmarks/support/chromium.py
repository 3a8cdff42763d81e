"""Debian's Chromium, driven: a page with what it complained of and whom it asked.

The driver keeps a loop of its own running in its thread, so it has one: other code may run loops in theirs.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    from playwright.sync_api import Page

NAMES = ("chromium", "chromium-browser", "google-chrome")
MISSING = "there is no chromium: apt-get install chromium"
Result = TypeVar("Result")


def executable() -> str | None:
    """Where Chromium is; None if it is not installed."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


@dataclasses.dataclass
class Visit:
    """A page, what its console and its scripts said was wrong, and the addresses it asked for."""

    page: Page
    problems: list[str] = dataclasses.field(default_factory=list)
    asked: list[str] = dataclasses.field(default_factory=list)


class Browser:
    """One Chromium; a context manager."""

    def __enter__(self) -> Self:
        self._thread = ThreadPoolExecutor(1, "browser")
        self._thread.submit(self._start).result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.submit(self._stop).result()
        self._thread.shutdown()

    def _start(self) -> None:
        from playwright.sync_api import sync_playwright

        self._driver = sync_playwright().start()
        self._browser = self._driver.chromium.launch(executable_path=executable(), args=["--no-sandbox"])

    def _stop(self) -> None:
        self._browser.close()
        self._driver.stop()

    def visit(self, look: Callable[[Visit], Result], **context: Any) -> Result:
        """What `look` makes of a page in a context of its own, e.g. offline=True, viewport={"width": …}."""

        def inside() -> Result:
            with self._browser.new_context(**context) as own:
                visit = Visit(own.new_page())
                visit.page.on(
                    "console", lambda said: visit.problems.append(said.text) if said.type == "error" else None
                )
                visit.page.on("pageerror", lambda error: visit.problems.append(str(error)))
                visit.page.on("request", lambda request: visit.asked.append(request.url))
                return look(visit)

        return self._thread.submit(inside).result()
