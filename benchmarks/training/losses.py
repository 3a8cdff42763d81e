"""How exact the losses are: the worst relative error of every form against 80-digit arithmetic.

Errors as they come in training and every combination of 0, 1e-8, 0.1 and 10, in three precisions. A gradient is
compared with the exact one rounded to the precision of the errors it belongs to.
"""

from __future__ import annotations

import argparse
import sys

import torch

from benchmarks.support.loss_reference import FORMS, worst_errors
from benchmarks.support.results import Row, record

GOAL = 1e-6
BF16_STEP = 2.0**-8  # one unit in the last place: rounding may fall to either side of a tie
PRECISIONS = (torch.float64, torch.float32, torch.bfloat16)


def allowed(precision: torch.dtype) -> float:
    """The most that a gradient may be off."""
    return BF16_STEP if precision == torch.bfloat16 else GOAL


def rows(precision: torch.dtype, loss: float, gradient: float) -> list[Row]:
    """The worst of all forms in one precision."""
    name, note = str(precision)[6:], f"the worst of {len(FORMS)} forms"
    return [
        Row(f"loss in {name}", loss, "relative error", f"≤ {GOAL:g}", note=note),
        Row(f"gradient in {name}", gradient, "relative error", f"≤ {allowed(precision):g}", note=note),
    ]


def main() -> None:
    argparse.ArgumentParser(
        prog="python -m benchmarks losses", description=__doc__.splitlines()[0], allow_abbrev=False
    ).parse_args()
    print(f"| form | {' | '.join(f'loss, gradient in {str(p)[6:]}' for p in PRECISIONS)} |\n|---|---|---|---|")
    missed = []
    worst: dict[torch.dtype, tuple[float, ...]] = dict.fromkeys(PRECISIONS, (0.0, 0.0))
    for form in FORMS:
        cells = []
        for precision in PRECISIONS:
            loss, gradient = worst_errors(form, precision)
            missed += [form.name] * (loss > GOAL or gradient > allowed(precision))
            worst[precision] = tuple(map(max, zip(worst[precision], (loss, gradient), strict=True)))
            cells.append(f"{loss:.1e}, {gradient:.1e}")
        print(f"| {form.name} | {' | '.join(cells)} |", flush=True)
    record("losses", [row for precision in PRECISIONS for row in rows(precision, *worst[precision])])
    if missed:
        sys.exit(f"above {GOAL:g}: {', '.join(missed)}")


if __name__ == "__main__":
    main()
