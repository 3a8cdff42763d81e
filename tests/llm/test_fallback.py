"""A second model takes what the first does not answer: who wrote it, whose money it is, and what is asked again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.support.stub_server import ChatServer, serving
from datagen.errors import BudgetSpent, EndpointError, RequestRejected, UserError
from datagen.llm import LEDGER, LlmOptions, limits, sender
from datagen.llm.access import connect
from datagen.llm.accounts.database import read_only
from datagen.llm.environment import fallback_of, from_environment
from datagen.llm.fallback import BY_FALLBACK
from datagen.llm.messages import Message, Reply, Request
from datagen.llm.providers import mock
from datagen.records import Prompt
from datagen.stages import prompts

PRICES = '[models."first"]\ninput = 10.0\noutput = 10.0\n[models."second"]\ninput = 100.0\noutput = 100.0\n'
ROWS = [Request((Message("user", f"row {number}"),), stage="prompts", max_tokens=64) for number in range(12)]


@pytest.fixture
def servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[ChatServer, ChatServer]]:
    for name in ("OPENAI_API_KEY", "DATAGEN_LLM_API_KEY", "OPENAI_BASE_URL", "DATAGEN_LLM_FALLBACK_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "prices.toml").write_text(PRICES)
    monkeypatch.setattr(sender, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(sender, "LONGEST_WAIT_S", 0.02)
    with serving() as (one, first), serving() as (two, second):
        monkeypatch.setenv("DATAGEN_LLM_BASE_URL", one)
        monkeypatch.setenv("DATAGEN_LLM_MODEL", "first")
        monkeypatch.setenv("DATAGEN_LLM_FALLBACK_BASE_URL", two)
        monkeypatch.setenv("DATAGEN_LLM_FALLBACK_MODEL", "second")
        monkeypatch.setenv("DATAGEN_LLM_PATIENCE", "0.3")
        monkeypatch.setenv("DATAGEN_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("DATAGEN_PRICES", str(tmp_path / "prices.toml"))
        yield first, second


def ask(
    tmp_path: Path, rows: list[Request] = ROWS, max_cost: float | None = None, said: list[str] | None = None
) -> list[Reply]:
    say = (said if said is not None else []).append
    with connect("", LlmOptions(tmp_path, max_cost=max_cost, say=say)) as asked:
        return asked(rows)


def paid(tmp_path: Path) -> dict[str, tuple[int, float]]:
    """Model → calls and dollars, by the ledger."""
    rows = read_only(tmp_path / LEDGER, "SELECT model, count(*), sum(cost) FROM calls GROUP BY model")
    return {model: (calls, cost) for model, calls, cost in rows}


@pytest.mark.parametrize("fault", ["rejected", "refusal"])
def test_what_the_first_does_not_answer_is_written_by_the_second(
    fault: str, tmp_path: Path, servers: tuple[ChatServer, ChatServer]
) -> None:
    first, second = servers
    good = ask(tmp_path, ROWS[:4])
    assert {reply.model for reply in good} == {"first"} and second.counts.total() == 0
    first.change(**{fault: 1.0})
    replies = ask(tmp_path)
    assert all(reply.error is None for reply in replies)
    assert [reply.model for reply in replies] == ["first"] * 4 + [f"second{BY_FALLBACK}"] * 8
    assert paid(tmp_path)["second"][0] == second.counts.total() == 8


def test_a_resume_asks_neither_again(tmp_path: Path, servers: tuple[ChatServer, ChatServer]) -> None:
    first, second = servers
    ask(tmp_path, ROWS[:2])
    first.change(rejected=1.0)
    before = ask(tmp_path)
    counts = first.counts.total(), second.counts.total()
    after = ask(tmp_path)
    assert (first.counts.total(), second.counts.total()) == counts
    assert [reply.text for reply in after] == [reply.text for reply in before]
    assert [reply.model for reply in after] == [reply.model for reply in before]
    assert all(reply.cached for reply in after)


@pytest.mark.parametrize("max_cost", [None, 100.0])
@pytest.mark.parametrize("fault", ["rejected", "refusal"])
def test_a_resume_asks_neither_again_where_the_second_is_served_by_another_name(
    fault: str,
    max_cost: float | None,
    tmp_path: Path,
    servers: tuple[ChatServer, ChatServer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATAGEN_LLM_FALLBACK_BASE_URL", "mock:")
    first, _ = servers
    ask(tmp_path, ROWS[:2], max_cost)
    first.change(**{fault: 1.0})
    before = ask(tmp_path, max_cost=max_cost)
    assert [reply.model for reply in before] == ["first"] * 2 + [f"mock-{mock.VERSION}{BY_FALLBACK}"] * 10
    asked = first.counts.total()
    for now in (1.0, 0.0):  # whether or not the first has recovered
        first.change(**{fault: now})
        after = ask(tmp_path, max_cost=max_cost)
        assert [(reply.text, reply.model) for reply in after] == [(reply.text, reply.model) for reply in before]
        assert all(reply.cached for reply in after) and first.counts.total() == asked


@pytest.mark.parametrize("max_cost", [None, 100.0])
def test_what_the_first_answered_by_another_name_is_not_asked_of_the_second(
    max_cost: float | None,
    tmp_path: Path,
    servers: tuple[ChatServer, ChatServer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATAGEN_LLM_BASE_URL", "mock:")
    _, second = servers
    before = ask(tmp_path, ROWS[:6], max_cost)
    assert {reply.model for reply in before} == {f"mock-{mock.VERSION}"}

    async def out_of_order(*_: object) -> dict[str, object]:
        raise RequestRejected("it takes no such thing")

    monkeypatch.setattr(mock.MockTransport, "send", out_of_order)
    both = ask(tmp_path, max_cost=max_cost)
    assert [reply.model for reply in both] == [f"mock-{mock.VERSION}"] * 6 + [f"second{BY_FALLBACK}"] * 6
    asked = second.counts.total()
    again = ask(tmp_path, max_cost=max_cost)
    assert [reply.text for reply in again] == [reply.text for reply in both]
    assert second.counts.total() == asked == 6 and all(reply.cached for reply in again)


def test_a_model_is_never_its_own_fallback_by_another_name(
    servers: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gguf = tmp_path / "a.gguf"
    gguf.write_bytes(b"GGUF")
    for address in ("mock:", f"local:{gguf}"):
        monkeypatch.setenv("DATAGEN_LLM_BASE_URL", address)
        monkeypatch.setenv("DATAGEN_LLM_FALLBACK_BASE_URL", address)
        with pytest.raises(EndpointError, match="asked first"):
            fallback_of(from_environment())


def test_when_the_first_server_is_down_the_rest_is_the_second_s(
    tmp_path: Path, servers: tuple[ChatServer, ChatServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = servers
    ask(tmp_path, ROWS[:3])
    first.change(error=1.0)
    said: list[str] = []
    monkeypatch.setattr(limits, "TOLD_S", 0.1)
    replies = ask(tmp_path, said=said)
    assert all(reply.error is None for reply in replies)
    assert [reply.model for reply in replies] == ["first"] * 3 + [f"second{BY_FALLBACK}"] * 9
    assert len([line for line in said if "from now on the fallback model is asked" in line]) == 1


def test_a_server_that_is_not_there_is_replaced(
    tmp_path: Path, servers: tuple[ChatServer, ChatServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATAGEN_LLM_BASE_URL", "http://127.0.0.1:9/v1")
    assert {reply.model for reply in ask(tmp_path)} == {f"second{BY_FALLBACK}"}


def test_a_wrong_key_is_the_user_s_to_mend(tmp_path: Path, servers: tuple[ChatServer, ChatServer]) -> None:
    first, second = servers
    first.change(secret=True)
    with pytest.raises(EndpointError, match="refuses the key"):
        ask(tmp_path)
    assert second.counts.total() == 0


def test_each_model_is_billed_at_its_own_price_and_max_cost_holds_over_both(
    tmp_path: Path, servers: tuple[ChatServer, ChatServer]
) -> None:
    first, second = servers
    ask(tmp_path, ROWS[:1], max_cost=100.0)
    first.change(rejected=1.0)
    with pytest.raises(BudgetSpent):  # the most of one call to the second is 0.11 dollars
        ask(tmp_path, max_cost=0.14)
    spent = paid(tmp_path)
    assert 0 < second.counts.total() == spent["second"][0]
    assert sum(cost for _, cost in spent.values()) <= 0.14
    one, two = (cost / calls for calls, cost in (spent["first"], spent["second"]))
    assert two == pytest.approx(10 * one, rel=0.3)


def test_a_fallback_without_a_price_is_refused_under_a_limit_before_anything_is_sent(
    tmp_path: Path, servers: tuple[ChatServer, ChatServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "prices.toml").write_text(PRICES.partition('[models."second"]')[0])
    monkeypatch.setenv("DATAGEN_LLM_FALLBACK_BASE_URL", "https://a.example/v1")
    monkeypatch.setenv("DATAGEN_LLM_FALLBACK_API_KEY", "k")
    with pytest.raises(UserError, match="price of 'second'"):
        ask(tmp_path, max_cost=1.0)
    assert servers[0].counts.total() == 0


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"MODEL": "first"}, "asked first"),
        ({"MODEL": "second", "BASE_URL": "https://a.example/v1"}, "DATAGEN_LLM_FALLBACK_API_KEY"),
        ({"MODEL": "second", "BASE_URL": "a.example"}, "accepted are"),
        ({"BASE_URL": "https://a.example/v1", "API_KEY": "k"}, "DATAGEN_LLM_FALLBACK_MODEL"),
        ({"API_KEY": "k"}, "DATAGEN_LLM_FALLBACK_MODEL"),
        ({"MODEL": "second", "API_KEY": "a\nb"}, "DATAGEN_LLM_FALLBACK_API_KEY"),
    ],
)
def test_what_is_wrong_with_a_fallback_is_said_by_name(
    values: dict[str, str], said: str, servers: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MODEL", "BASE_URL", "API_KEY"):
        monkeypatch.setenv(f"DATAGEN_LLM_FALLBACK_{name}", values.get(name, ""))
    with pytest.raises(EndpointError) as caught:
        fallback_of(from_environment())
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_key_and_headers_stay_with_their_server(servers: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAGEN_LLM_API_KEY", "sk-first")
    monkeypatch.setenv("DATAGEN_LLM_HEADERS", '{"X-Key": "secret-of-the-first"}')
    other = fallback_of(from_environment())
    assert (
        other is not None and "sk-first" not in str(other.sent_headers()) and "secret" not in str(other.sent_headers())
    )
    monkeypatch.delenv("DATAGEN_LLM_FALLBACK_BASE_URL")
    same = fallback_of(from_environment())
    assert same is not None and same.api_key == "sk-first" and same.model == "second"


def test_rows_by_the_fallback_are_counted() -> None:
    def row(author: str, error: str | None = None) -> Prompt:
        return Prompt(**{**dict.fromkeys(Prompt.__dataclass_fields__, ""), "author": author, "error": error})  # type: ignore[arg-type]

    assert prompts.remarks(row("first")) == []
    assert prompts.remarks(row(f"second{BY_FALLBACK}")) == ["written by second (fallback)"]
    assert prompts.remarks(row(f"second{BY_FALLBACK}", "unreadable")) == []


def test_a_judge_is_never_answered_by_another_model_and_a_batch_by_no_second(
    servers: tuple[ChatServer, ChatServer], tmp_path: Path
) -> None:
    first, second = servers
    with connect("", LlmOptions(tmp_path), fallback=False) as asked:
        asked(ROWS[:2])
    assert sum(first.counts.values()) and not sum(second.counts.values())
    with (
        pytest.raises(EndpointError, match="leave out --batch, or DATAGEN_LLM_FALLBACK_MODEL"),
        connect("", LlmOptions(tmp_path, batch=True)),
    ):
        pass
