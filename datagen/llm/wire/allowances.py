"""What is left of a server's limits, as the headers of any answer of its tell it.

Read are `x-ratelimit-{limit,remaining,reset}-{requests,tokens}` and what vendors make of that: `anthropic-ratelimit-
tokens-remaining`, `x-ratelimit-limit-tokens-minute`, `RateLimit-Remaining`. What makes no sense is passed over.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

from datagen.llm.wire.waits import span

ROLES = ("limit", "remaining", "reset")
MINUTE_S = 60.0  # where a server does not say when a limit begins anew, it is by the minute
MOST = 1e12  # units; a limit above it is none
_NUMBER = re.compile(r"\d{1,15}(?:\.\d{1,9})?")


@dataclasses.dataclass(frozen=True)
class Allowance:
    """What is `left` of a `limit` of so many `unit`s, which begins anew in `reset` seconds.

    `name` is the limit's own, as a server may have several of one unit.
    """

    name: str
    unit: str  # requests, tokens, input (tokens alone), output (likewise)
    limit: float
    left: float
    reset: float


def told(headers: Mapping[str, str]) -> list[Allowance]:
    """The allowances in the headers of an answer; [] where there is none that makes sense."""
    found: dict[str, dict[str, str]] = {}
    for header, value in headers.items():
        lowered = header.lower().replace("rate-limit", "ratelimit")
        before, mark, after = lowered.partition("ratelimit")
        parts = after.strip("-").split("-")
        role = next((part for part in parts if part in ROLES), None)
        if mark and role and before in ("", "x-", "anthropic-"):  # a proxy tells those of the server behind it as well
            parts.remove(role)
            found.setdefault("-".join(parts), {}).setdefault(role, value.strip())
    read = [_allowance(name, values) for name, values in found.items()]
    return [allowance for allowance in read if allowance is not None]


def _allowance(name: str, values: dict[str, str]) -> Allowance | None:
    limit, left = _units(values.get("limit", "")), _units(values.get("remaining", ""))
    reset = span(values["reset"]) if values.get("reset") else MINUTE_S
    if limit is None or left is None or reset is None or not 1 <= limit <= MOST or left > limit:
        return None
    return Allowance(name, _unit(name), limit, left, reset)


def _unit(name: str) -> str:
    if "token" not in name:
        return "requests"
    return next((side for side in ("input", "output") if side in name), "tokens")


def _units(text: str) -> float | None:
    """A number that is not negative; the first of "100, 100;w=60"."""
    first = re.split(r"[,;]", text)[0].strip()
    return float(first) if _NUMBER.fullmatch(first) else None
