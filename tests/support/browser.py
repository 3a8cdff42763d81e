"""One Chromium for all tests of a process. Where there is none they are skipped, and in CI they fail."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.support import chromium
from benchmarks.support.chromium import Browser, Visit

ACCESSIBLE = Path(chromium.__file__).with_name("accessible.js")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium, driven."""
    if chromium.executable() is None:
        if os.environ.get("CI"):
            pytest.fail(chromium.MISSING)
        pytest.skip(chromium.MISSING)
    with Browser() as running:
        yield running


def hindrances(visit: Visit) -> list[str]:
    """What keeps somebody from using a page as it is shown now."""
    found: list[str] = visit.page.evaluate(ACCESSIBLE.read_text(encoding="utf-8"))
    return found
