"""How long a server asks to wait, in one of the many places where servers say so."""

from __future__ import annotations

import datetime
import email.utils
import re
from collections.abc import Mapping
from typing import Any

LONGEST_S = 86_400.0  # a longer wait is a misunderstanding: an absolute time, or milliseconds

# "1h2m3.5s", "120ms", "6m0s": what OpenAI writes into its reset headers.
_SPAN = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)(ms|s)?)?")
# "Please try again in 1.242s", "Please retry in 34.07s", "in 120 ms", "in 6m0s", "in 1 hour and 2 minutes", "in 30".
_PART = r"(\d+(?:\.\d+)?) ?(ms|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?)(?![a-z])"
_IN_WORDS = re.compile(
    rf"(?:try again|retry) (?:in|after) (?P<all>(?:{_PART},? ?(?:and )?)+|\d+(?:\.\d+)?)", re.IGNORECASE
)


def asked(headers: Mapping[str, str], answer: Any) -> float | None:
    """Seconds that a refusal asks to wait, by its headers or else its body; None if it does not say."""
    known = {name.lower(): value.strip() for name, value in headers.items()}
    for seconds in (_retry_after(known), _reset(known), _in_body(answer)):
        if seconds is not None and 0 <= seconds <= LONGEST_S:
            return seconds
    return None


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Retry-After-Ms, or Retry-After in seconds, as a span, a Unix time or a date."""
    try:
        return float(headers.get("retry-after-ms", "")) / 1000.0
    except ValueError:
        return span(headers.get("retry-after", ""))


def _reset(headers: Mapping[str, str]) -> float | None:
    """When the limit that is used up begins anew (x-ratelimit-reset-requests and its relatives)."""
    waits = {}
    for name, value in headers.items():
        if "ratelimit" in name and "reset" in name and (seconds := span(value)) is not None:
            waits[name] = seconds
    used_up = [
        seconds
        for name, seconds in waits.items()
        if headers.get(name.replace("reset", "remaining"), "").strip() == "0"
    ]
    return max(used_up) if used_up else min(waits.values(), default=None)


def span(text: str) -> float | None:
    """Seconds of a span, of a Unix time, or until a date."""
    found = _SPAN.fullmatch(text)
    if not text or not found:
        return _until(text)
    hours, minutes, number, unit = found.groups()
    seconds = float(number or 0) / (1000.0 if unit == "ms" else 1.0)
    if not unit and seconds > LONGEST_S:  # a Unix time, in seconds or in milliseconds
        now = datetime.datetime.now(datetime.UTC).timestamp()
        seconds = (seconds / 1000.0 if seconds > 1e11 else seconds) - now
    seconds += 3600.0 * float(hours or 0) + 60.0 * float(minutes or 0)
    return seconds if 0 <= seconds <= LONGEST_S else None


def _until(text: str) -> float | None:
    """Seconds until a date in HTTP's form or in ISO 8601; 0 if it is past, None if it is no date."""
    try:
        date = email.utils.parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # the second of an offset from UTC that no clock has
        try:
            date = datetime.datetime.fromisoformat(text)
        except ValueError:
            return None
    now = datetime.datetime.now(date.tzinfo or datetime.UTC)
    return max(0.0, (date.replace(tzinfo=date.tzinfo or datetime.UTC) - now).total_seconds())


def _in_body(answer: Any) -> float | None:
    """Google's `retryDelay`, Hugging Face's `estimated_time`, or the words of a message."""
    if isinstance(answer, list):
        answer = answer[0] if answer else None
    if not isinstance(answer, dict):
        return None
    time, error = answer.get("estimated_time"), answer.get("error")
    if isinstance(time, int | float) and 0 <= time <= LONGEST_S:
        return float(time)
    error = error if isinstance(error, dict) else {"message": error}
    details = error.get("details")
    for detail in details if isinstance(details, list) else []:
        if isinstance(detail, dict) and isinstance(delay := detail.get("retryDelay"), str):
            return span(delay)
    if found := _IN_WORDS.search(str(error.get("message") or "")):
        return _words_span(found["all"])
    return None


def _words_span(text: str) -> float:
    """Seconds of "6m0s", "1 hour and 2 minutes" or a number alone."""
    parts = re.findall(_PART, text.lower())
    return sum(float(number) * _seconds(unit) for number, unit in parts) if parts else float(text)


def _seconds(unit: str) -> float:
    return 0.001 if unit.startswith(("ms", "mil")) else {"s": 1.0, "m": 60.0, "h": 3600.0}[unit[0]]
