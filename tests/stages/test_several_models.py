"""Candidates of one prompt by models of several classes and a server, in one run."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_pipelines

from benchmarks.support.picture_server import serving
from datagen.errors import ModelError
from datagen.llm import LlmOptions
from datagen.records import Image, Prompt
from datagen.stages import Context, Shard, images

LOCAL = {
    "sd3": "FlowMatchEulerDiscreteScheduler",
    "flux": "FlowMatchEulerDiscreteScheduler",
    "pixart": "DDIMScheduler",
    "sana": "FlowMatchEulerDiscreteScheduler",
}
SERVED = "endpoint:flat"


@pytest.fixture
def mixed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_context: Callable[..., Context]
) -> Callable[..., Context]:
    """A context of `rank` whose candidates the models named draw in turn."""
    monkeypatch.setenv("DATAGEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DATAGEN_IMAGES_PATIENCE", "0.5")
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)

    def context(first: str, *others: str, candidates: int) -> Context:
        made = make_context("rank", candidates=candidates)
        changes = {"model": first, "other_models": others, "scheduler": "model", "width": 32, "height": 32}
        profile = made.profile.model_copy(update=changes)
        return dataclasses.replace(made, profile=profile, llm=LlmOptions(tmp_path / "run"))

    return context


def test_each_row_says_which_model_drew_it(
    mixed: Callable[..., Context], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_prompt: Callable[..., Prompt]
) -> None:
    for name in LOCAL:
        tiny_pipelines.make(name).save_pretrained(tmp_path / name)
    folders = [str(tmp_path / name) for name in LOCAL]
    context = mixed(SERVED, *folders, candidates=10)
    prompts = Shard({Prompt: [make_prompt(), make_prompt(prompt_id="p1")]})
    with serving(takes=("size", "seed", "response_format")) as stub:
        monkeypatch.setenv("DATAGEN_IMAGES_BASE_URL", stub.url)
        rows: list[Image] = images.run(context, prompts).rows
        sold = stub.counts["sold"]
        again: list[Image] = images.run(context, prompts).rows
        assert stub.counts["sold"] == sold  # the second time all come from the cache
    assert [row.generator for row in rows] == [SERVED, *LOCAL] * 4
    assert [row.scheduler for row in rows] == ["", *LOCAL.values()] * 4
    assert not [row.error for row in rows if row.error]
    assert len({row.image_id for row in rows if row.generator != SERVED}) == 16
    for row in rows:
        assert row.notes.startswith("the server takes no steps") == (row.generator == SERVED)
        assert (row.width, row.height, row.steps) == (32, 32, context.profile.steps)
    assert [(row.image_id, row.image) for row in again] == [(row.image_id, row.image) for row in rows]


@pytest.mark.parametrize("places", [(0, 1), (1, 0)])
def test_a_model_that_is_not_here_is_found_before_a_server_is_paid(
    places: tuple[int, int], mixed: Callable[..., Context], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    make_prompt: Callable[..., Prompt],
) -> None:  # fmt: skip
    models = [SERVED, str(tmp_path / "nowhere")]
    context = mixed(*(models[place] for place in places), candidates=2)
    with serving() as stub:
        monkeypatch.setenv("DATAGEN_IMAGES_BASE_URL", stub.url)
        with pytest.raises(ModelError, match="nowhere"):
            images.check(context)
        with pytest.raises(ModelError, match="nowhere"):
            images.run(context, Shard({Prompt: [make_prompt()]}))
        assert stub.counts["sold"] == 0
