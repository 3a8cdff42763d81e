"""What a run learnt of its judges and its labels, in lines for people: for `datagen status`, the card and the log."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def lines(facts: Mapping[str, Any]) -> list[str]:
    """The facts of the labels' footer in words, a line each; none of a run that was not labelled."""
    if not facts:
        return []
    found = [f"learnt from {facts['pairs']} pairs"]
    if facts["judges"]:
        found.append("judges, how often right: " + ", ".join(map(_judge, facts["judges"])))
    if facts["obedience"]:
        found.append("drawn as worded: " + ", ".join(_share(*named) for named in sorted(facts["obedience"].items())))
    return found + [str(note) for note in facts["notes"]]


def _judge(judge: Mapping[str, Any]) -> str:
    leak = judge["leak"]
    told = f", sees the wording by {_interval(leak)} of its noise" if leak is not None else ""
    right = "not known" if math.isnan(judge["reliability"]) else f"{judge['reliability']:.2f}"
    return f"{judge['name']} {right}{told}"


def _share(stratum: str, share: Mapping[str, float]) -> str:
    return f"{stratum} {_interval(share)}"


def _interval(estimate: Mapping[str, float]) -> str:
    return f"{estimate['value']:.2f} [{estimate['low']:.2f}, {estimate['high']:.2f}]"
