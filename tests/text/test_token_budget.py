"""Prompts are measured as the model will read them: its own tokenizers, with the principle in front."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from datagen import world
from datagen.text import token_budget
from datagen.text.token_budget import Fit
from datagen.weights.value_pipeline import value_text as joined_by_the_trainer


def test_the_principle_stands_in_front_as_in_training() -> None:
    assert token_budget.value_text("be kind", "a cat") == joined_by_the_trainer("be kind", "a cat")
    assert token_budget.value_text("", "a cat") == "a cat"


@pytest.mark.parametrize("layout", ["sd15_folder", "sdxl_folder"])
def test_a_folder_is_measured_with_its_own_tokenizers(layout: str, request: pytest.FixtureRequest) -> None:
    fit = Fit(str(request.getfixturevalue(layout)))
    assert fit.exact and fit.limit == 77
    assert fit.length("") == 2
    assert fit.length("abc") == 5  # a tokenizer of letters
    assert fit.fits("ab", "c" * 72) and not fit.fits("ab", "c" * 73)  # two letters, a comma, start and end


def test_of_two_tokenizers_the_one_that_needs_more_decides(sdxl_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    shutil.copytree(sdxl_folder / "tokenizer_2", folder / "tokenizer_2")
    shutil.copytree(world.PIPELINE / "tokenizer", folder / "tokenizer")
    words = "a red ball"
    assert Fit("embedded").length(words) < Fit(str(folder)).length(words) == Fit(str(sdxl_folder)).length(words)


def test_the_embedded_world_and_an_unknown_hub_id_answer_without_a_network() -> None:
    assert Fit("embedded").exact
    assert Fit("embedded").length("a chef with a red ball") == 8
    assert not Fit("nobody/has-this-model").exact and Fit("nobody/has-this-model").length("a red ball") == 5
    assert not Fit("/no/such/folder").exact


def test_the_published_vocabulary_gives_clips_own_tokens() -> None:
    ids = token_budget._published()("a photo of an astronaut riding a horse, don't").input_ids
    assert ids == [49406, 320, 1125, 539, 550, 18376, 6765, 320, 4558, 267, 847, 713, 49407]  # as CLIP has them
    assert max(map(len, token_budget._published().get_vocab())) * token_budget.LIMIT < token_budget.MEASURED


def test_a_problem_is_the_same_words_for_every_prompt() -> None:
    fit = Fit("nobody/has-this-model")
    prompt = "a red cube on a wooden table beside a window in a bright kitchen " * 7
    assert fit.problem("be kind", "a cat") is None
    assert fit.problem("be kind", prompt) == fit.problem("be fair", prompt * 2)
    assert fit.problem("be kind", prompt) == "too long: over 77 tokens with its principle"
    assert fit.problem("", prompt) == "too long: over 77 tokens"


@pytest.mark.parametrize("text", ["a" * 10**6, "a " * 10**6, " " * 10**6 + "a", "\0\x1b", "\u4f60\u597d" * 10**5])
def test_hostile_texts_are_measured_and_cost_nothing(text: str) -> None:
    assert Fit("nobody/has-this-model").length(text) >= 2


def test_a_hub_id_is_measured_from_the_local_cache(sd15_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def cached(model: str, name: str, revision: str | None) -> str | None:
        file = sd15_folder / name
        return str(file) if (model, revision) == ("some/model", "v1") and file.is_file() else None

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", cached)
    assert Fit("some/model", "v1").exact and Fit("some/model", "v1").length("abc") == 5
    assert not Fit("some/model", "v2").exact


def test_broken_tokenizers_are_as_good_as_none(tmp_path: Path) -> None:
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer" / "vocab.json").write_text("no json")
    assert not Fit(str(tmp_path)).exact
    assert Fit(str(tmp_path)).length("a cat") == 4
