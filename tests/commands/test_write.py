"""`datagen write`: prompts and no image, or one call; through the command line, with the mock for an LLM."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from datagen import store
from datagen.cli import app
from datagen.errors import InputError, RecipeError
from datagen.llm.providers.mock import VERSION

ARGUMENTS = ["pick-safety", "--profile", "embedded", "--limit", "6"]


@pytest.fixture(autouse=True)
def mock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_BASE_URL", "DATAGEN_LLM_MODEL", "DATAGEN_PRICES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DATAGEN_LLM_BASE_URL", "mock:")
    monkeypatch.setenv("DATAGEN_CACHE", str(tmp_path / "cache"))


def write(*more: str) -> str:
    result = CliRunner().invoke(app, ["write", *ARGUMENTS, *more])
    if result.exception is not None:
        raise result.exception
    return result.stdout


def test_the_prompts_are_written_and_nothing_is_drawn(tmp_path: Path) -> None:
    out = tmp_path / "run"
    said = write("--out", str(out), "--set", "profiles.embedded.writer=modifier")
    assert "6 prompts of " in said and str(out / "tables" / "prompts") in said
    assert {path.name for path in (out / "tables").iterdir()} == {"principles", "prompts"}
    assert store.Run(out).table("prompts", 0).num_rows == 6
    before = store.Run(out).shard("prompts", 0).read_bytes()
    assert write("--out", str(out), "--set", "profiles.embedded.writer=modifier").startswith(
        "nothing to do: 6 prompts"
    )
    assert store.Run(out).shard("prompts", 0).read_bytes() == before
    assert not (out / "dataset").exists()


def test_prompts_of_an_llm_are_written_where_the_image_model_is_not(tmp_path: Path) -> None:
    out, nowhere = tmp_path / "run", tmp_path / "no-model"
    write("--out", str(out), "--set", "profiles.embedded.writer=llm", "--set", f"profiles.embedded.model={nowhere}")
    assert {path.name for path in (out / "tables").iterdir()} == {"principles", "prompts"}
    assert store.Run(out).table("prompts", 0).num_rows == 6


def test_a_dry_run_makes_the_first_call_of_the_run_and_shows_it(tmp_path: Path) -> None:
    said = write("--dry-run", "--set", "profiles.embedded.writer=llm")
    assert "--- system" in said and "--- user" in said and f"--- mock-{VERSION}" in said
    assert "the reply can be used" in said and '"scenes": [' in said and "1 of " in said
    assert "from the cache, at no cost" in write("--dry-run", "--set", "profiles.embedded.writer=llm")
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_what_cannot_be_written_is_one_line() -> None:
    with pytest.raises(RecipeError, match="asks no LLM"):
        write("--dry-run")
    with pytest.raises(InputError, match="--out"):
        write()
