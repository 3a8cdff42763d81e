"""What servers tell of a bill, each in its own spelling."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.llm.accounts import told
from datagen.llm.accounts.prices import Price, Prices
from datagen.llm.accounts.told import Tokens
from datagen.llm.messages import Usage

TEXT = [{"message": {"role": "assistant", "content": "a dog"}}]


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        # OpenAI: thoughts are within completion_tokens
        ({"prompt_tokens": 10, "completion_tokens": 60, "total_tokens": 70,
          "completion_tokens_details": {"reasoning_tokens": 50}}, Tokens(10, 60)),
        # Gemini's compatible server: thoughts in the total alone
        ({"prompt_tokens": 10, "completion_tokens": 60, "total_tokens": 670}, Tokens(10, 660)),
        # Grok: beside, in total and details
        ({"prompt_tokens": 10, "completion_tokens": 60, "total_tokens": 670,
          "completion_tokens_details": {"reasoning_tokens": 600}}, Tokens(10, 660)),
        # in the details alone, and a total that forgets them
        ({"prompt_tokens": 10, "completion_tokens": 60, "total_tokens": 70,
          "completion_tokens_details": {"reasoning_tokens": 600}}, Tokens(10, 660)),
        # no total: it cannot be told apart, so the dearer reading
        ({"prompt_tokens": 10, "completion_tokens": 60, "reasoning_tokens": 50}, Tokens(10, 110)),
        ({"prompt_tokens": 10, "completion_tokens": None, "total_tokens": 40}, Tokens(10, 30)),
        ({"completion_tokens": 30, "total_tokens": 40}, Tokens(10, 30)),
        ({"prompt_tokens": 10.0, "completion_tokens": "30"}, Tokens(10, 30)),
        # OpenAI and DeepSeek: cached tokens are within the input
        ({"prompt_tokens": 100, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 64}},
         Tokens(100, 5, 64)),
        ({"prompt_tokens": 100, "completion_tokens": 5, "prompt_cache_hit_tokens": 80}, Tokens(100, 5, 80)),
        # Anthropic: beside it
        ({"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 90, "cache_creation_input_tokens": 7},
         Tokens(107, 5, 90)),
        # of two counts that should be one, the dearer
        ({"prompt_tokens": 10, "input_tokens": 900, "completion_tokens": 5, "output_tokens": 70}, Tokens(900, 70)),
        ({"prompt_tokens": 900, "input_tokens": 10, "completion_tokens": 5}, Tokens(900, 5)),
        ({"prompt_tokens": 12}, None),
        ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, None),
        ({"prompt_tokens": 12, "completion_tokens": 0}, None),  # a reply of no tokens that says something
        ({"prompt_tokens": -1, "completion_tokens": 3}, None),
        ({"prompt_tokens": True, "completion_tokens": 3}, None),
        ({"prompt_tokens": 12.5, "completion_tokens": 3}, None),
        ({"prompt_tokens": 12, "completion_tokens": 10**30}, None),
        ("many", None),
        (None, None),
    ],
)  # fmt: skip
def test_tokens(usage: Any, tokens: Tokens | None) -> None:
    assert told.tokens({"choices": TEXT, "usage": usage}) == tokens


def test_a_reply_without_a_text_may_have_no_tokens() -> None:
    assert told.tokens({"usage": {"prompt_tokens": 12, "completion_tokens": 0}}) == Tokens(12, 0)


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        ({"cost": 0.25}, 0.25),
        ({"total_cost": 1}, 1.0),
        ({"estimated_cost": 0.5}, 0.5),
        ({"cost": 0.01, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.2}}, 0.21),
        ({"cost": 0.2, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.2}}, 0.2),
        ({"cost": -1}, None),
        ({"cost": True}, None),
        ({"cost": float("nan")}, None),
        ({"cost": "0.2"}, None),
        ({}, None),
        (None, None),
    ],
)  # fmt: skip
def test_cost(usage: Any, cost: float | None) -> None:
    assert told.cost({"usage": usage}) == (None if cost is None else pytest.approx(cost))


def test_a_cost_that_is_told_is_the_bill_and_no_price_makes_it_free() -> None:
    prices = Prices({"m": Price(input=1, output=10, cached=0.5)}, {})
    usage = {"prompt_tokens": 1000, "completion_tokens": 100}
    assert prices.usage("m", {"usage": {**usage, "cost": 0.5}}) == Usage(1000, 100, 0.5)
    assert prices.usage("unknown", {"usage": {**usage, "cost": 0.5}}) == Usage(1000, 100, 0.5)
    assert prices.usage("m", {"usage": {**usage, "cost": 0}}) == Usage(1000, 100, pytest.approx(0.002))
    cached = {**usage, "prompt_tokens_details": {"cached_tokens": 400}}
    assert prices.usage("m", {"usage": cached}) == Usage(1000, 100, pytest.approx(0.0018))


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.integers(0, 10**6), st.booleans(), st.booleans())
def test_the_account_is_never_below_the_bill(given_: int, said: int, thought: int, total: bool, details: bool) -> None:
    """Thoughts that are billed beside the completion, told in either way or in both."""
    usage: dict[str, Any] = {"prompt_tokens": given_, "completion_tokens": said}
    usage |= {"total_tokens": given_ + said + thought} if total else {}
    usage |= {"completion_tokens_details": {"reasoning_tokens": thought}} if details else {}
    counted = told.tokens({"choices": TEXT, "usage": usage})
    assert counted is not None and counted.input == given_
    assert counted.output >= said + (thought if total or details else 0)
