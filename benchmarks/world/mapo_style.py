"""MaPO on pick-style: does the target style take hold where the prompt leaves the style open, and only there?

`python -m benchmarks mapo_style`; held-out captions of fresh scenes, guidance 4, read by the world's reader.
"""

from __future__ import annotations

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
    before, after = figure(report, "style.unasked.pixel")
    row("target style on neutral prompts", before, after, "< 5 → ≥ 90", before < 0.05 and after >= 0.9)
    before, after = figure(report, "match")
    row("attributes shown", before, after, "down ≤ 5 points", before - after <= 0.05)
    for style in ("outline", "plain"):
        before, after = figure(report, f"style.asked.{style}")
        row(f"{style} style where the prompt states it", before, after, "≥ 70", after >= 0.7)


if __name__ == "__main__":
    main()
