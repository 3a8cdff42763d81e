"""The client of any OpenAI-compatible server: typed replies, accounts, batches, a server on this machine.

It knows nothing of principles and prompts: writers and judges use it alike (`access.connect`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

LEDGER = "ledger.sqlite"  # in the run directory: what was spent


def _silent(*_: object) -> None:
    """Says and shows nothing; a function of a module, so that what holds it can be pickled."""


@dataclasses.dataclass(frozen=True)
class LlmOptions:
    """Where the accounts of a run lie, what its calls may cost, how they are sent, and who is notified."""

    folder: Path = Path()  # the run directory
    max_cost: float | None = None  # US dollars, for everything that was ever spent in `folder`
    batch: bool = False  # ask through OpenAI's Batch API: half the price, hours instead of minutes
    say: Callable[[str], None] = _silent
    progress: Callable[[str, int, int], None] = _silent
