"""What a call ends with, in lines of text: failures by reason, the numbers of each judge, and how far to trust it."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence

from datagen.commands.judge.merge import Summary
from datagen.commands.judge.tally import Tally
from datagen.commands.judge.trust import Trust
from datagen.labels.reliability import Reliability

BARS, PLAIN = " ▁▂▃▄▅▆▇█", " .:-=+*#@"  # the second where the terminal cannot show the first
HEAD = ("judge", "values", "mean", "spread", "from", "", "to")
TRUST = ("judge", "pairs", "right [95 %]", "ties", "first place", "both orders alike")
SILENT = "-"


def lines(summary: Summary, out: object, encoding: str | None = None) -> Iterator[str]:
    """The lines, for a terminal of an encoding, by default that of standard output."""
    yield f"{summary.images} images, {summary.scored} scored, {summary.errors} errors: {out}"
    yield from (f"{count:>7} {reason}" for reason, count in summary.reasons.most_common())
    if any(one.count for one in summary.tallies):
        yield ""
        yield from _table(HEAD, [_numbers(one, _bars(encoding)) for one in summary.tallies])
    if summary.trust is not None:
        yield ""
        yield from _trust(summary.trust)


def histogram(bins: Sequence[int], bars: str = BARS) -> str:
    """A sign a bin, the fuller the higher; the empty one is of none at all."""
    most = max(bins)
    return "".join(bars[math.ceil(count / most * (len(bars) - 1))] if count else bars[0] for count in bins)


def _bars(encoding: str | None) -> str:
    try:
        BARS.encode(encoding or sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return PLAIN
    return BARS


def _numbers(one: Tally, bars: str) -> tuple[str, ...]:
    name = f"{one.judge} {one.category}".rstrip() + " (shown first)" * one.beats
    if not one.count:
        return name, "0", SILENT, SILENT, SILENT, "", SILENT
    return (
        name,
        str(one.count),
        short(one.mean),
        short(one.spread),
        short(one.low),
        f"|{histogram(one.bins, bars)}|",
        short(one.high),
    )


def short(value: float) -> str:
    """Four significant digits."""
    return f"{value:.4g}"


def _trust(trust: Trust) -> Iterator[str]:
    """A line a judge, then one for each two of them."""
    yield from _table(TRUST, [_reliability(name, found) for name, found in trust.judges.items()])
    for (one, other), share in trust.agreement.items():
        yield f"{one} and {other} agree: {share} of {share.count} pairs"


def _reliability(name: str, found: Reliability) -> tuple[str, ...]:
    first = SILENT if found.first is None else str(found.first)
    alike = SILENT if found.consistent is None else str(found.consistent)
    return name, str(found.accuracy.count), str(found.accuracy), str(found.ties), first, alike


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Columns under their names: the first to the left, numbers to the right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    for row in (head, *rows):
        first, *others = zip(row, widths, strict=True)
        yield "  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]).rstrip()
