"""How exact the losses are: the worst relative error of every form against 80-digit arithmetic.

Errors as they come in training and every combination of 0, 1e-8, 0.1 and 10, in three precisions. A gradient is
compared with the exact one rounded to the precision of the errors it belongs to.
"""

from __future__ import annotations

import argparse
import sys

import torch

from benchmarks.support.loss_reference import FORMS, worst_errors

GOAL = 1e-6
BF16_STEP = 2.0**-8  # one unit in the last place: rounding may fall to either side of a tie
PRECISIONS = (torch.float64, torch.float32, torch.bfloat16)


def main() -> None:
    argparse.ArgumentParser(prog="python -m benchmarks losses", description=__doc__.splitlines()[0]).parse_args()
    print(f"| form | {' | '.join(f'loss, gradient in {str(p)[6:]}' for p in PRECISIONS)} |\n|---|---|---|---|")
    missed = []
    for form in FORMS:
        cells = []
        for precision in PRECISIONS:
            loss, gradient = worst_errors(form, precision)
            allowed = BF16_STEP if precision == torch.bfloat16 else GOAL
            missed += [form.name] * (loss > GOAL or gradient > allowed)
            cells.append(f"{loss:.1e}, {gradient:.1e}")
        print(f"| {form.name} | {' | '.join(cells)} |", flush=True)
    if missed:
        sys.exit(f"above {GOAL:g}: {', '.join(missed)}")


if __name__ == "__main__":
    main()
