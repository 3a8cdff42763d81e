"""The writer through the real client: servers, cache, ledger and budget come from recipe, desk and environment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.support.stub_server import ChatServer, serving
from datagen.errors import BudgetSpent, EndpointError
from datagen.llm import LEDGER, LlmOptions
from datagen.llm.accounts import money
from datagen.recipe import load
from datagen.records import Prompt, Written
from datagen.text import token_budget
from datagen.writers import open_writer

RECIPE = load("pick-safety", ["profiles.sd15.writer=llm", "profiles.sd15.taxonomy=safety", "prompts.count=12"])
PRICES = '[models."stub-model"]\ninput = 100.0\noutput = 100.0\n'


class Any77:
    """Stands for the tokenizers, which take seconds to load."""

    def __init__(self, model: str, revision: str = "") -> None: ...

    def problem(self, principle: str, prompt: str) -> str | None:
        return None


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    for name in ("OPENAI_API_KEY", "DATAGEN_LLM_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(token_budget, "Fit", Any77)
    (tmp_path / "prices.toml").write_text(PRICES)
    with serving(writes=True) as (base_url, server):
        monkeypatch.setenv("DATAGEN_LLM_BASE_URL", base_url)
        monkeypatch.setenv("DATAGEN_LLM_MODEL", "stub-model")
        monkeypatch.setenv("DATAGEN_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("DATAGEN_PRICES", str(tmp_path / "prices.toml"))
        yield server


def write(desk: LlmOptions, before: list[Prompt] | None = None) -> Written[Prompt]:
    with open_writer(RECIPE, RECIPE.profile("sd15"), desk) as writer:
        principles = writer.principles().rows
        return writer.prompts(principles) if before is None else writer.retry(principles, before)


def test_a_run_is_paid_once_and_replayed_from_the_cache(server: ChatServer, tmp_path: Path) -> None:
    shown: list[tuple[str, int, int]] = []
    first = write(LlmOptions(tmp_path, progress=lambda *event: shown.append(event)))
    calls = server.counts.total()
    assert calls >= 13 and all(row.error is None for row in first.rows)
    assert shown and shown[-1][0] == "LLM calls"
    again = write(LlmOptions(tmp_path))
    assert server.counts.total() == calls
    assert [row.prompt_id for row in again.rows] == [row.prompt_id for row in first.rows]
    spent = money.totals(tmp_path / LEDGER)["prompts"]
    assert spent.calls >= 13 and spent.cached >= 13 and spent.cost > 0


def test_refused_rows_stay_and_are_mended_by_new_calls_alone(server: ChatServer, tmp_path: Path) -> None:
    write(LlmOptions(tmp_path))  # the scenes are had, and the dialect is known
    server.change(refusal=0.5)
    (tmp_path / "cache" / "replies.sqlite").rename(tmp_path / "gone")
    for leftover in (tmp_path / "cache").glob("replies.sqlite*"):
        leftover.unlink()
    broken = list(write(LlmOptions(tmp_path)).rows)
    failed = [row for row in broken if row.error is not None]
    assert failed and all(row.error.startswith("refused: ") for row in failed if row.error)
    server.change(refusal=0.0)
    before = server.counts.total()
    mended = write(LlmOptions(tmp_path), broken).rows
    assert all(row.error is None for row in mended)
    assert server.counts.total() - before >= len({row.scene for row in failed if row.scene})
    assert [row for row in mended if row in broken] == [row for row in broken if row.error is None]


def test_a_spent_budget_stops_the_run(server: ChatServer, tmp_path: Path) -> None:
    with pytest.raises(BudgetSpent):
        write(LlmOptions(tmp_path, max_cost=0.5))
    assert sum(spent.cost for spent in money.totals(tmp_path / LEDGER).values()) <= 0.5


def test_without_a_key_or_a_model_the_variable_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("OPENAI_API_KEY", "DATAGEN_LLM_API_KEY", "OPENAI_BASE_URL", "DATAGEN_LLM_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DATAGEN_LLM_MODEL", "m")
    with pytest.raises(EndpointError, match="OPENAI_API_KEY"):
        write(LlmOptions(tmp_path))
    monkeypatch.delenv("DATAGEN_LLM_MODEL")
    with pytest.raises(EndpointError, match="DATAGEN_LLM_MODEL"):
        write(LlmOptions(tmp_path))
    assert not (tmp_path / LEDGER).exists()
