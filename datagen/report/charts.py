"""Drawings of a report as inline SVG, a few hundred bytes each; colours and fonts are the page's own."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from datagen.report.figures import Bin, Margins

LOW, HIGH = 0.5, 1.0  # of both axes of a reliability diagram


def reliability(found: Sequence[Bin], label: str) -> Markup:
    """What was promised against what came out, with intervals; a dot's area follows its count."""
    left, top, side = 44.0, 10.0, 236.0
    floor = min([LOW, *(bin_.right.low for bin_ in found if not math.isnan(bin_.right.low))])
    floor = math.floor(floor * 10) / 10

    def x(value: float) -> float:
        return round(left + side * (value - LOW) / (HIGH - LOW), 1)

    def y(value: float) -> float:
        return round(top + side * (1 - (value - floor) / (HIGH - floor)), 1)

    parts = [f'<path class="frame" d="M{left} {top}V{top + side}H{left + side}"/>']
    parts += [_text("tick", x(tick / 10), top + side + 16, tick * 10) for tick in range(5, 11)]
    for tick in range(round(floor * 10), 11):
        parts.append(_text("tick", left - 8, y(tick / 10) + 4, tick * 10, "end"))
        parts.append(f'<path class="grid" d="M{left} {y(tick / 10)}H{left + side}"/>')
    parts.append(f'<path class="ideal" d="M{x(LOW)} {y(LOW)}L{x(HIGH)} {y(HIGH)}"/>')
    most = max((bin_.right.count for bin_ in found), default=1)
    for bin_ in found:
        cx, cy, radius = x(bin_.promised), y(bin_.right.value), round(3 + 6 * math.sqrt(bin_.right.count / most), 1)
        if not math.isnan(bin_.right.low):
            parts.append(f'<path class="whisker" d="M{cx} {y(bin_.right.low)}V{y(bin_.right.high)}"/>')
        parts.append(f'<circle class="dot" cx="{cx}" cy="{cy}" r="{radius}"/>')
    parts.append(_text("tick", left + side / 2, top + side + 34, "promised, %"))
    return _svg(left + side + 24, top + side + 40, label, parts)


def sure(found: Sequence[tuple[float, float, int]], label: str) -> Markup:
    """How many pairs are how certain: a bar a bin."""
    width, height, step = 300.0, 232.0, 60.0
    most = max((count for _, _, count in found), default=0) or 1
    parts = []
    for place, (low, high, count) in enumerate(found):
        tall, middle = max(1.0, round((height - 24) * count / most, 1)), place * step + step / 2
        top = round(height - tall, 1)
        parts.append(f'<rect class="bar" x="{place * step + 4}" y="{top}" width="{step - 8}" height="{tall}" rx="3"/>')
        parts.append(_text("count", middle, top - 6, f"{count:,}"))
        parts.append(_text("tick", middle, height + 17, f"{_percent(low)}–{_percent(high)}"))
    parts.append(f'<path class="frame" d="M0 {height}H{width}"/>')
    return _svg(width, height + 24, label, parts)


def margins(found: Margins, label: str) -> Markup:
    """How far a judge prefers chosen (right of the middle) or rejected (left of it)."""
    width, height = 240.0, 56.0
    step, most, middle = width / len(found.bars), max(found.bars) or 1, len(found.bars) // 2
    parts = []
    for place, count in enumerate(found.bars):
        if count:
            tall = round(max(1.0, height * count / most), 1)
            kind = "bar" if place >= middle else "bar against"
            parts.append(
                f'<rect class="{kind}" x="{round(place * step + 0.5, 1)}" y="{round(height - tall, 1)}" '
                f'width="{round(step - 1, 1)}" height="{tall}"/>'
            )
    parts.append(f'<path class="frame" d="M0 {height}H{width}M{width / 2} 0V{height + 5}"/>')
    return _svg(width, height + 6, label, parts)


def _text(kind: str, x: float, y: float, text: object, anchor: str = "middle") -> str:
    return f'<text class="{kind}" x="{x}" y="{round(y, 1)}" text-anchor="{anchor}">{text}</text>'


def _percent(value: float) -> str:
    return f"{100 * value:g}"


def _svg(width: float, height: float, label: str, parts: Sequence[str]) -> Markup:
    """The parts hold numbers and our own words only; the label may hold a judge's name."""
    head = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">').format(f"{width:g}", f"{height:g}", label)
    return head + Markup("".join(parts)) + Markup("</svg>")
