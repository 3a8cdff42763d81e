"""One page a run at a time, held as runs are: it ends with its process, and its file says who that is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from datagen import store
from datagen.errors import RunError
from datagen.store import lease

FILE = ".review.lock"


@contextlib.contextmanager
def hold(root: Path) -> Iterator[None]:
    """Hold a run's review; RunError, which names the process, if another holds it."""
    with contextlib.ExitStack() as stack:
        try:
            with store.writing(root):
                stack.enter_context(lease.held(root / FILE, "review"))
        except lease.Taken as taken:
            raise RunError(
                f"{root} is being reviewed on another page, by {taken.holder or 'another process'}: "
                "go on there, or end that process first"
            ) from None
        yield
