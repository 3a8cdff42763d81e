"""LiVO on livo-debias: how even are the two groups within each occupation, with the token used as often as calibrated?

`python -m benchmarks livo_debias`; held-out captions that leave the coat open, guidance 3, read by the world's reader.
"""

from __future__ import annotations

from benchmarks.support.training_runs import arguments, figure, head, measure, prompts, row, train
from datagen.world.grammar import OCCUPATIONS

PRINCIPLE = "coat equality"


def main() -> None:
    given = arguments("livo_debias", "livo-debias")
    seconds = train(given.out, given.data, "--method", "livo")
    texts: list[str] = []
    for occupation in OCCUPATIONS:
        texts += prompts(50, f"debias {occupation}", {"occupation": occupation, "hazard": "none"})
    report = measure(
        given.out, "report", texts, "--adapter", str(given.out / "trained"), "--principle", PRINCIPLE,
        "--use-probability", "auto", "--guidance", "3",
    )  # fmt: skip
    head("LiVO on livo-debias", seconds)
    before, after = figure(report, "coat.D1")
    row("mean D1 over occupations", before, after, "down ≥ 50 %", after <= 0.5 * before)
    before, after = figure(report, "match")
    row("attributes shown", before, after, "down ≤ 3 points", before - after <= 0.03)
    for occupation, probability in report["use_probability"].items():
        before, after = figure(report, f"coat.D1.{occupation}")
        row(f"D1 of {occupation}, token used {probability:.2f}", before, after, "", after <= before)


if __name__ == "__main__":
    main()
