"""What a server tells of a call's bill: tokens and cost, in each of the spellings that servers have for them.

Where two readings are possible the dearer one is taken, so that an account is never below the bill.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

MOST_TOKENS = 10**9  # a count above it is an error
MOST_DOLLARS = 10_000.0  # likewise, of one call


@dataclasses.dataclass(frozen=True)
class Tokens:
    """Tokens that a call is billed for; `cached` are those of the input that the server had read before."""

    input: int
    output: int
    cached: int = 0


def tokens(answer: Any) -> Tokens | None:
    """The billed tokens of a completion, or of any other answer; None if it does not tell all of them.

    What a model thinks is output. OpenAI counts it in `completion_tokens`; others (Gemini, Grok) beside it, so that
    only `total_tokens` or the details show it.
    """
    block = answer.get("usage") if isinstance(answer, dict) else None
    if not isinstance(block, dict):
        return None
    given, said = _count(block, "prompt_tokens", "input_tokens"), _count(block, "completion_tokens", "output_tokens")
    total, thought = _count(block, "total_tokens"), _thought(block)
    if given is None and total is not None and said is not None:
        given = total - said
    if not given or given < 0 or (said is None and total is None):  # no question has no tokens
        return None
    read_beside, written_beside = _cached_beside(block)
    given += read_beside + written_beside
    output = said or 0
    if thought > output or total is None:
        output += thought
    if total is not None:
        output = max(output, total - given)
    if output == 0 and _says_something(answer):
        return None
    return Tokens(given, output, min(given, _cached_within(block) + read_beside))


def cost(answer: Any) -> float | None:
    """The dollars that an answer says it cost (OpenRouter, LiteLLM, DeepInfra); None if it does not say."""
    block = answer.get("usage") if isinstance(answer, dict) else None
    if not isinstance(block, dict):
        return None
    details = block.get("cost_details")
    upstream = _dollars(details.get("upstream_inference_cost")) if isinstance(details, dict) else None
    own = next(
        (d for name in ("cost", "total_cost", "estimated_cost") if (d := _dollars(block.get(name))) is not None), None
    )
    # With a key of one's own at the provider, OpenRouter's share alone is `cost`.
    return own if upstream is None or not block.get("is_byok") else (own or 0.0) + upstream


def _count(block: dict[str, Any], *names: str) -> int | None:
    """The greatest of some counts: a whole number, also as a float or as text; None if none is there."""
    counts: list[int] = []
    for name in names:
        value = block.get(name)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 12:
            value = int(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if type(value) is int and 0 <= value <= MOST_TOKENS:
            counts.append(value)
    return max(counts, default=None)


def _thought(block: dict[str, Any]) -> int:
    parts = [block, block.get("completion_tokens_details"), block.get("output_tokens_details")]
    counts = [
        _count(part, "reasoning_tokens", "thinking_tokens", "thoughts_tokens")
        for part in parts
        if isinstance(part, dict)
    ]
    return max((count for count in counts if count), default=0)


def _cached_within(block: dict[str, Any]) -> int:
    """Cached tokens that `prompt_tokens` includes (OpenAI, DeepSeek)."""
    details = block.get("prompt_tokens_details") or block.get("input_tokens_details")
    counts = [
        _count(block, "prompt_cache_hit_tokens"),
        _count(details, "cached_tokens") if isinstance(details, dict) else 0,
    ]
    return max(count or 0 for count in counts)


def _cached_beside(block: dict[str, Any]) -> tuple[int, int]:
    """Tokens read from a cache and written to it that `input_tokens` leaves out (Anthropic: no `prompt_tokens`)."""
    if "prompt_tokens" in block:
        return 0, 0
    return _count(block, "cache_read_input_tokens") or 0, _count(block, "cache_creation_input_tokens") or 0


def _dollars(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and 0 <= value <= MOST_DOLLARS else None


def _says_something(answer: dict[str, Any]) -> bool:
    """Whether a reply has any text, so that it cannot have had no tokens."""
    choices = answer.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get("message") if isinstance(first, dict) else None
    return isinstance(message, dict) and any(
        message.get(name) for name in ("content", "tool_calls", "reasoning_content")
    )
