"""What a command that made a dataset ends with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from datagen.errors import MachineryError

if TYPE_CHECKING:
    from datagen.pipeline.plan import Summary


def closing(summary: Summary) -> list[str]:
    """The lines that a finished run ends with."""
    counts = f"{summary.rows('prompts')} prompts, {summary.rows('images')} images, {summary.rows('pairs')} pairs"
    if summary.made == 0:
        return [f"nothing to do: {counts} in {summary.place or summary.dataset}"]
    split = ", ".join(f"{count} {name}" for name, count in summary.splits.items())
    return [f"{counts} ({split}) in {summary.place or summary.dataset}", *summary.losses()]


def refuse_empty(summary: Summary) -> None:
    """MachineryError for a dataset without a pair."""
    from datagen import records

    if summary.rows("prompts") and not sum(summary.splits.values()):
        reasons = records.in_words(summary.plans["pairs"].drops())
        raise MachineryError(f"no pair passed, so there is nothing to train on (dropped: {reasons or 'none'})")
