"""Whether a training still computes with finite numbers: asked before anything of it is written.

A TrainingError says in one line what is not finite, since when, and what there is to go back to.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from training.errors import TrainingError
from training.loop.disk import held

if TYPE_CHECKING:
    from training.loop.update import Update


def broken(what: str, out: Path) -> TrainingError:
    """What to say of a training that cannot go on: its last checkpoint is from before, and its weights can be had."""
    line = (
        f"{what}: lower --lr, and what else is large (--lora-alpha, --beta, other options of the loss), or use "
        "--precision fp32"
    )
    if last := held(out)[-1:]:
        step = int(last[0].name[5:])
        line += f"; the checkpoint of step {step:,} is sound, and --steps {step} ends with its weights"
    return TrainingError(line)


def check(update: Update, step: int, out: Path) -> None:
    """Raise TrainingError if the weights are not finite after `step` steps; all processes ask at once."""
    if update.team.any(not update.is_finite()):
        raise broken(f"the weights are not finite after step {step}", out)


def check_result(update: Update, steps: int, out: Path) -> Iterator[str]:
    """What is to be said of the weights after all steps. Raises TrainingError for those that nobody can use.

    Finite weights may still be so large that what is computed with them is not: the last batch is predicted once more.
    """
    check(update, steps, out)
    if update.team.any(not update.predicts(steps - 1)):
        raise broken(f"what the model predicts is not finite after step {steps}", out)
    if left := steps - update.taken:
        nothing = "" if update.taken else ": nothing was learnt; give more steps, or use --precision bf16 or fp32"
        yield f"note: {left:,} of {steps:,} steps were left out, since their gradients overflowed in fp16{nothing}"
