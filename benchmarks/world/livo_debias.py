"""LiVO on livo-debias: how even are the two groups within each occupation, with the token used as often as calibrated?

`python -m benchmarks livo_debias`; held-out captions that leave the coat open, guidance 3, read by the world's reader.
"""

from __future__ import annotations

from benchmarks.support.results import Row, record
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
    rows = [Row("training", seconds, "s")]
    rows += row("mean D1 over occupations", *figure(report, "coat.D1"), less="≥ 50")
    rows += row("attributes shown", *figure(report, "match"), lost="≤ 3")
    for occupation, probability in report["use_probability"].items():
        print(f"{occupation}: token used with probability {probability:.2f}")
        rows += row(f"D1 of {occupation}", *figure(report, f"coat.D1.{occupation}"), gained="≤ 0")
    record("livo_debias", rows)


if __name__ == "__main__":
    main()
