"""The client against a server that answers in crooked ways: all that it charges for is on the ledger."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.llm.llm_bill import LIMIT, hurried, settle
from benchmarks.support.crooked_server import WAYS

# Ways whose answers tell all that they are charged for: the account is the bill, to the last token.
TOLD = [
    "sound", "thinking_beside", "thinking_in_the_total_alone", "thinking_in_the_details_alone", "thinking_within",
    "thinking_without_an_end", "cached_within", "cached_beside", "usage_as_floats", "usage_as_text", "cost_told",
    "no_choices", "empty_choices", "choice_without_a_message", "empty_reply", "declines", "events_with_usage",
    "keeps_to_no_length",
]  # fmt: skip
# Ways that leave the charge open: it is booked at the most that it can be.
UNTOLD = [
    "usage_missing", "usage_null", "usage_zero", "usage_half", "no_choices_and_no_usage", "error_under_200",
    "events_without_usage", "latin_1", "not_json", "web_page", "gzip_that_is_none", "gzip_that_breaks_off",
    "written_and_rejected", "cut_on_the_way", "no_answer_in_time", "gateway_gives_up", "filtered_after_reading",
    "error_with_a_bill",
]  # fmt: skip
FREE = ["error_without_a_bill", "too_busy", "rejected", "unknown_model", "key_revoked"]


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    with hurried():
        yield


def test_every_way_is_sorted() -> None:
    assert {*TOLD, *UNTOLD, *FREE, "flagged"} == set(WAYS)


@pytest.mark.parametrize("way", TOLD)
def test_what_an_answer_tells_is_booked_to_the_token(way: str) -> None:
    found = settle(way, None, rows=4)
    assert found.ledger == pytest.approx(found.bill, rel=1e-9)


@pytest.mark.parametrize("way", UNTOLD)
def test_what_an_answer_does_not_tell_is_booked_at_its_most(way: str) -> None:
    found = settle(way, None, each=2, rows=4)
    assert found.ledger > found.bill


@pytest.mark.parametrize("way", [*UNTOLD, "thinking_beside", "thinking_in_the_details_alone", "no_choices", "sound"])
def test_no_bill_passes_the_limit(way: str) -> None:
    found = settle(way, LIMIT / 4, rows=12)
    assert found.held and max(found.bill, found.ledger) <= LIMIT / 4


@pytest.mark.parametrize("way", FREE)
def test_what_is_not_charged_is_not_booked(way: str) -> None:
    found = settle(way, LIMIT, each=2, rows=4)
    assert found.ledger == pytest.approx(found.bill)


@pytest.mark.parametrize("way", ["no_choices", "empty_choices", "latin_1", "not_json", "web_page", "error_under_200"])
def test_an_answer_that_can_never_be_used_is_bought_twice_and_no_more(way: str) -> None:
    found = settle(way, None, rows=5)
    assert (found.good, found.asked, found.ended) == (0, 1 + 2 * 5, "")


def test_a_server_that_gives_nothing_usable_any_more_is_not_asked_to_the_end() -> None:
    found = settle("no_choices", None, rows=60)
    assert found.asked < 1 + 2 * (16 + 8) and found.ended == ""


@pytest.mark.parametrize(
    "way", ["no_choices", "web_page", "unknown_model", "key_revoked", "flagged", "rejected", "latin_1", "not_json"]
)
def test_an_odd_answer_among_good_ones_is_the_failure_of_one_request(way: str) -> None:
    found = settle(way, None, each=4, rows=12)
    assert found.ended == "" and found.good >= 8


@pytest.mark.parametrize("way", ["events_with_usage", "events_without_usage", "written_and_rejected", "cached_beside"])
def test_an_answer_in_another_form_is_read(way: str) -> None:
    assert settle(way, None, rows=4).good == 4


@pytest.mark.parametrize(("way", "said"), [("key_revoked", "refuses the key"), ("unknown_model", "does not know")])
def test_a_server_that_refuses_everything_from_now_on_ends_the_run(way: str, said: str) -> None:
    found = settle(way, None, rows=30)
    assert said in found.ended and found.asked < 30


@pytest.mark.parametrize("dollars", [LIMIT, 100 * LIMIT])
def test_a_server_that_keeps_to_no_length_ends_a_run_under_a_limit(dollars: float) -> None:
    found = settle("keeps_to_no_length", dollars, rows=30)
    assert found.asked == 2  # the question about schemas, and one row
    assert "BudgetSpent" in found.ended and "was billed 20,000 tokens" in found.ended
    assert found.ledger == pytest.approx(found.bill)


def test_a_server_that_keeps_to_no_length_is_paid_where_there_is_no_limit() -> None:
    found = settle("keeps_to_no_length", None, rows=5)
    assert (found.good, found.asked, found.ended) == (5, 6, "")


def test_thought_within_what_a_call_was_allowed_is_no_surprise() -> None:
    assert settle("thinking_beside", 100 * LIMIT, rows=12).good == 12
