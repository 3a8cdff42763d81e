"""The mock: typed replies of any request, the same each time, without a server; and whole runs with it."""

from __future__ import annotations

import enum
import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field

from datagen.errors import EndpointError
from datagen.llm import LlmOptions
from datagen.llm.access import connect
from datagen.llm.messages import Message, Reply, Request
from datagen.llm.providers import mock
from datagen.llm.typed.structured import Dialect, body
from datagen.recipe import load
from datagen.text import quality
from datagen.world import captions
from datagen.world.grammar import VIOLET_SHARE
from datagen.writers import open_writer
from datagen.writers.replies import Context, Control, Scenes, Widened, Wordings, scenes_of


class Mood(enum.Enum):
    CALM = "calm"
    LOUD = "loud"


class Judged(BaseModel):
    """All that a schema may hold."""

    score: Annotated[int, Field(ge=3, le=7)]
    share: Annotated[float, Field(ge=0.5, le=0.75)]
    sure: bool
    mood: Mood
    kind: Literal["a", "b"]
    words: Annotated[list[Annotated[str, Field(max_length=12)]], Field(min_length=2, max_length=3)]
    inner: Context
    maybe: int | None


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("DATAGEN_LLM_MODEL", "DATAGEN_LLM_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DATAGEN_LLM_BASE_URL", "mock:")
    monkeypatch.setenv("DATAGEN_CACHE", str(tmp_path / "cache"))


def ask(folder: Path, requests: list[Request]) -> list[Reply]:
    with connect("", LlmOptions(folder, max_cost=0.01)) as asked:
        return asked(requests)


@pytest.mark.parametrize("reply", [Judged, Scenes, scenes_of(20), Context, Control, Wordings, Widened, None])
def test_every_type_is_answered_and_costs_nothing(tmp_path: Path, reply: type[BaseModel] | None) -> None:
    requests = [Request((Message("user", f"row {number}"),), reply, "prompts") for number in range(20)]
    replies = ask(tmp_path, requests)
    assert {found.error for found in replies} == {None}
    assert all(isinstance(found.value, reply or str) for found in replies)
    assert len({found.text for found in replies}) == 20
    assert {(found.model, found.usage.cost) for found in replies} == {(f"mock-{mock.VERSION}", 0.0)}


def test_a_reply_is_a_function_of_what_is_asked_and_how_often(tmp_path: Path) -> None:
    requests = [Request((Message("user", f"row {number % 5}"),), Scenes, sample=number // 5) for number in range(15)]
    first = ask(tmp_path / "a", requests)
    (tmp_path / "cache").rename(tmp_path / "gone")
    again = ask(tmp_path / "b", requests[::-1])[::-1]
    assert [reply.value for reply in first] == [reply.value for reply in again]
    assert not any(reply.cached for reply in again)
    assert len({reply.text for reply in first}) == 15


def test_its_scenes_are_ones_that_the_filters_keep() -> None:
    texts = {quality.clean(scene) for scene in map(scene_of, range(300))}
    assert len(texts) > 250
    assert [text for text in texts if quality.check(text)] == []


def scene_of(number: int) -> str:
    asked = body(Request((Message("user", str(number)),), Context), "mock", Dialect.SCHEMA)
    return str(json.loads(mock.answer(asked))["prompt"])


def test_a_wording_is_about_the_scene_that_it_was_given_and_no_two_are_alike() -> None:
    text = "Describe it three times.\n\n<scene>\na cook among ruins, at rest\n</scene>\n"
    asked = body(Request((Message("user", text),), Wordings), "mock", Dialect.SCHEMA)
    said = Wordings.model_validate_json(mock.answer(asked))
    assert said.prompt == "a cook among ruins, at rest"
    assert said.chosen.startswith(said.prompt) and said.rejected.startswith(said.prompt)
    assert len({said.prompt, said.chosen, said.rejected}) == 3


def test_a_balance_chooses_the_group_that_the_embedded_model_draws_too_seldom(tmp_path: Path) -> None:
    recipe = load("livo-debias", ["prompts.count=24", "profiles.embedded.writer=llm"])
    with open_writer(recipe, recipe.profile("embedded"), LlmOptions(tmp_path)) as writer:
        written = writer.prompts(writer.principles().rows)
    assert not [reason for reason in written.drops if "exchanged" in reason]
    assert {row.role for row in written.rows} == {"neutral", "control"}
    for row in written.rows:
        drawn = "violet" if VIOLET_SHARE[str(captions.parse(row.scene)["occupation"])] > 0.5 else "amber"
        other = "amber" if drawn == "violet" else "violet"
        of_default, of_other = (row.chosen_prompt, row.rejected_prompt)[:: 1 if row.role == "control" else -1]
        assert f"in a {drawn} coat".replace("a amber", "an amber") in of_default
        assert f"{other} coat" in of_other
        assert ("coat" in row.prompt) == (row.role == "control")


def test_it_has_no_address_and_no_batches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with connect("", LlmOptions(tmp_path, batch=True)) as asked:
        with pytest.raises(EndpointError, match="the mock has no Batch API .*run without --batch"):
            asked([Request((Message("user", "row"),))])
    monkeypatch.setenv("DATAGEN_LLM_BASE_URL", "mock:server")
    with pytest.raises(EndpointError, match="the mock has no address"):
        ask(tmp_path, [])


RUN = ["run", "pick-safety", "--profile", "embedded", "--workers", "1", "--limit", "4"]
SETTINGS = ["profiles.embedded.writer=llm", "profiles.embedded.steps=1", "profiles.embedded.judges=['world']"]


def test_what_is_written_with_the_mock_is_the_same_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = load("pick-safety", ["prompts.count=12", *SETTINGS])
    rows = []
    for name in ("a", "b"):
        monkeypatch.setenv("DATAGEN_CACHE", str(tmp_path / f"cache-{name}"))
        with open_writer(recipe, recipe.profile("embedded"), LlmOptions(tmp_path / name)) as writer:
            rows.append(list(writer.prompts(writer.principles().rows).rows))
    assert rows[0] == rows[1] and len(rows[0]) == 12
    assert {(row.author, row.error) for row in rows[0]} == {(f"mock-{mock.VERSION}", None)}


@pytest.mark.slow
def test_a_whole_run_needs_no_server(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "datagen", *RUN, "--out", str(tmp_path / "run")]
    anything = ["labels.min_match=0", "labels.min_probability=0"]  # so few steps draw little
    command += [part for setting in [*SETTINGS, *anything] for part in ("--set", setting)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "4 prompts, 8 images" in done.stdout + done.stderr
