"""The object store on loopback of `benchmarks.support`, for tests: without its packages they are skipped."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.support.object_store import FAULTS, Store, environment, serving

pytest.importorskip("localbucket")
pytest.importorskip("obstore")

__all__ = ["FAULTS", "Store", "credentials", "serving"]


@contextlib.contextmanager
def credentials(patch: pytest.MonkeyPatch, store: Store, copies: Path) -> Iterator[None]:
    """The environment that a user of the store has."""
    for name, value in environment(store, copies).items():
        patch.setenv(name, value)
    yield
