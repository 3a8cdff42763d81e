"""How long servers ask to wait, each in its own place and spelling."""

from __future__ import annotations

import datetime
import email.utils
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.llm.wire import waits

SOON = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=2)


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        ({"Retry-After": "7"}, None, 7.0),
        ({"retry-after-ms": "1500", "retry-after": "9"}, None, 1.5),
        ({"Retry-After": "0"}, None, 0.0),
        # OpenAI, Groq: of the limit that is used up
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "4s",
          "x-ratelimit-reset-tokens": "120ms"}, None, 4.0),
        ({"X-RateLimit-Remaining-Tokens": "0", "X-RateLimit-Reset-Requests": "4s",
          "X-RateLimit-Reset-Tokens": "120ms"}, None, 0.12),
        ({"x-ratelimit-reset-requests": "6m0s"}, None, 360.0),
        ({"x-ratelimit-reset-requests": "1h1m1.5s"}, None, 3661.5),
        ({"x-ratelimit-reset": "30"}, None, 30.0),
        # Google
        ({}, [{"error": {"code": 429, "details": [{"@type": "x"}, {"retryDelay": "34s"}]}}], 34.0),
        ({}, {"error": {"message": "Please retry in 34.07s."}}, 34.07),
        # OpenAI's words; Hugging Face
        ({}, {"error": {"message": "Rate limit reached. Please try again in 1.242s. Visit"}}, 1.242),
        ({}, {"error": {"message": "Please try again in 320ms."}}, 0.32),
        ({}, {"error": {"message": "Please try again in 2m."}}, 120.0),
        ({}, {"error": "Model m is currently loading", "estimated_time": 40.0}, 40.0),
        ({}, {"error": {"message": "Please try again in 6m0s."}}, 360.0),
        ({}, {"error": {"message": "Please try again in 1h2m3.5s. Visit"}}, 3723.5),
        ({}, {"error": {"message": "Try again in 2 hours and 30 minutes"}}, 9000.0),
        ({}, {"error": {"message": "retry after 90 milliseconds"}}, 0.09),
        ({}, {"error": {"message": "Retry after 30"}}, 30.0),
        ({}, {"error": {"message": "try again in 5 more minutes"}}, 5.0),  # a number alone is one of seconds
        ({"Retry-After": "5s"}, None, 5.0),
        ({"Retry-After": "1m30s"}, None, 90.0),
        # what nobody means
        ({"Retry-After": "9999999999"}, None, None),
        ({"Retry-After": "1e308"}, None, None),
        ({"Retry-After": "nan"}, None, None),
        ({"retry-after-ms": "1e300"}, None, None),
        ({"Retry-After": "Sat, 28 Nov 2026 10:00:00 +9999999999999"}, None, None),
        ({"Retry-After": "9999-12-31T23:59:59+23:59"}, None, None),
        ({}, {"error": {"message": f"try again in {'9' * 400}s"}}, None),
        ({}, {"estimated_time": float("nan")}, None),
        ({"Retry-After": "soon"}, {"error": "slow down"}, None),
        ({"Retry-After": "-1"}, None, None),
        ({"Retry-After": "inf"}, None, None),
        ({"x-ratelimit-reset-requests": "never"}, None, None),
        ({}, "text", None),
        ({}, None, None),
    ],
)  # fmt: skip
def test_the_seconds_that_are_asked_for(headers: dict[str, str], body: Any, seconds: float | None) -> None:
    assert waits.asked(headers, body) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    "headers",
    [
        {"Retry-After": email.utils.format_datetime(SOON.replace(microsecond=0), usegmt=True)},
        {"anthropic-ratelimit-requests-remaining": "0", "anthropic-ratelimit-requests-reset": SOON.isoformat()},
        {"X-RateLimit-Reset": str(int(SOON.timestamp()))},
        {"Retry-After": str(int(SOON.timestamp()))},
        {"X-RateLimit-Reset": str(int(SOON.timestamp() * 1000))},
    ],
)
def test_a_time_of_day_is_counted_from_now(headers: dict[str, str]) -> None:
    assert waits.asked(headers, None) == pytest.approx(SOON.timestamp() - time.time(), abs=2.5)


def test_a_time_that_is_past_is_no_wait() -> None:
    assert waits.asked({"Retry-After": "Thu, 01 Jan 2015 00:00:00 GMT"}, None) == 0.0


@given(st.dictionaries(st.sampled_from(["Retry-After", "x-ratelimit-reset", "retry-after-ms"]), st.text()), st.text())
def test_anything_can_be_asked(headers: dict[str, str], message: str) -> None:
    seconds = waits.asked(headers, {"error": {"message": message, "details": [message]}})
    assert seconds is None or seconds >= 0
