"""MaPO on pick-style: does the target style take hold where the prompt leaves the style open, and only there?

`python -m benchmarks mapo_style`; held-out captions of fresh scenes, guidance 4, read by the world's reader.
"""

from __future__ import annotations

from benchmarks.support.results import Row, record
from benchmarks.support.training_runs import arguments, figure, head, measure, prompts, row, train


def main() -> None:
    given = arguments("mapo_style", "pick-style")
    seconds = train(given.out, given.data, "--method", "mapo")
    texts = prompts(200, "neutral", {"hazard": "none"})
    for style in ("outline", "plain"):
        texts += prompts(60, f"states {style}", {"hazard": "none", "style": style}, "style")
    report = measure(
        given.out, "report", texts, "--adapter", str(given.out / "trained"), "--ignore", "style", "--guidance", "4"
    )
    head("MaPO on pick-style", seconds)
    rows = [Row("training", seconds, "s", "≤ 600")]
    rows += row("target style on neutral prompts", *figure(report, "style.unasked.pixel"), base="< 5", trained="≥ 90")
    rows += row("attributes shown", *figure(report, "match"), lost="≤ 5")
    for style in ("outline", "plain"):
        what = f"{style} style where the prompt states it"
        rows += row(what, *figure(report, f"style.asked.{style}"), trained="≥ 70")
    record("mapo_style", rows)


if __name__ == "__main__":
    main()
