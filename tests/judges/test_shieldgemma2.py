"""ShieldGemma 2: three policies in its own words, and the probability of Yes, which is that one is broken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_gemma
import tiny_llava
import torch
from misfits import copy, reset, rewrite, without
from transformers import AutoModelForImageTextToText, AutoProcessor

from datagen import judges
from datagen.errors import ModelError
from datagen.judges import panel
from datagen.recipe import JudgeChoice


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_gemma.save(tmp_path_factory.mktemp("gemma") / "shieldgemma-2")


def load(folder: Path, **options: str) -> Any:
    judges._load_once.cache_clear()
    return judges.load("shieldgemma2", {"weights": str(folder)} | options)


@pytest.fixture(scope="module")
def judge(published: Path) -> Any:
    return load(published)


def test_equals_gemmas_own_logits_at_the_end_of_each_policys_question(published: Path, judge: Any) -> None:
    """One picture and one policy at a time, without padding, by the bare Gemma 3 and a softmax written out."""
    images = tiny_llava.noise(6)
    processor = AutoProcessor.from_pretrained(published)
    model = AutoModelForImageTextToText.from_config(judge._loaded[0].config).eval()
    model.load_state_dict(judge._loaded[0].model.state_dict())
    yes, no = processor.tokenizer.convert_tokens_to_ids(["Yes", "No"])
    expected = []
    for image in images:
        said = []
        for policy in ("dangerous", "sexual", "violence"):
            inputs = processor(images=[image], policies=[policy], return_tensors="pt")
            size = (tiny_gemma.SIDE, tiny_gemma.SIDE)
            pixels = np.asarray(image.resize(size, 2), np.float32).transpose(2, 0, 1) / 127.5 - 1
            inputs["pixel_values"] = torch.from_numpy(pixels)[None]
            with torch.no_grad():
                logits = model(**inputs).logits[0, -1].double()
            said.append((1 / (1 + (logits[no] - logits[yes]).exp())).item())
        expected.append(said)
    found = judge.score(images, ["whatever"] * 6)
    assert found == pytest.approx(np.array(expected), abs=1e-5)
    assert np.ptp(found, axis=0).min() > 1e-4 and found.shape == (6, 3)
    assert not judge.facts.higher_is_better and judge.facts.categories == ("dangerous", "sexual", "violence")


def test_a_score_is_the_same_alone_and_in_company(judge: Any) -> None:
    images = tiny_llava.noise(7)
    together, backwards = judge.score(images, [""] * 7), judge.score(images[::-1], [""] * 7)[::-1]
    alone = np.concatenate([judge.score([image], ["a text"]) for image in images])
    assert together == pytest.approx(alone, abs=1e-5) and together == pytest.approx(backwards, abs=1e-5)
    assert judge.score([], []).shape == (0, 3)


def core(name: str) -> str:
    """A tensor's name without what surrounds the parts of Gemma 3."""
    while name.startswith("model."):
        name = name.removeprefix("model.")
    return name.replace("language_model.model.", "language_model.").replace(".vision_model.", ".")


def gathered(tensors: dict[str, Any]) -> dict[str, Any]:
    """The names since all of Gemma 3 lies under one model."""
    return {f"model.model.{core(name)}": value for name, value in tensors.items()}


def first(tensors: dict[str, Any]) -> dict[str, Any]:
    """The names when it was published: a causal model in the whole, and SigLIP's as in a file of its own."""
    whole = {"language_model.": "language_model.model.", "vision_tower.": "vision_tower.vision_model."}
    found = {}
    for name, value in tensors.items():
        name = core(name)
        for part, longer in whole.items():
            name = longer + name.removeprefix(part) if name.startswith(part) else name
        found[f"model.{name}"] = value
    return found


@pytest.mark.parametrize("names", [first, gathered])
def test_the_names_of_the_published_file_are_read_and_those_that_followed(
    names: Any, published: Path, tmp_path: Path, judge: Any
) -> None:
    mine = copy(published, tmp_path)
    rewrite(mine, names)
    images = tiny_llava.noise(2)
    assert (load(mine).score(images, [""] * 2) == judge.score(images, [""] * 2)).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without("multi_modal_projector"), "missing"),
        (without("layers.1.mlp"), "missing"),
        (lambda tensors: tensors | {"model.extra": torch.zeros(2)}, "1 unexpected"),
        (lambda tensors: {n: v * float("nan") if "norm" in n else v for n, v in tensors.items()}, "NaN"),
    ],
)
def test_weights_that_do_not_fill_it_are_refused(change: Any, words: str, published: Path, tmp_path: Path) -> None:
    mine = copy(published, tmp_path)
    rewrite(mine, change)
    with pytest.raises(ModelError) as error:
        load(mine).score(tiny_llava.noise(1), [""])
    assert words in str(error.value) and "\n" not in str(error.value)


def test_files_that_do_not_belong_together_are_refused(published: Path, tmp_path: Path) -> None:
    mine = copy(published, tmp_path)
    reset(mine / "config.json", yes_token_index=5)
    with pytest.raises(ModelError, match="has .* and No where its model says Yes and No"):
        load(mine).score(tiny_llava.noise(1), [""])
    reset(mine / "config.json", model_type="gemma3")
    with pytest.raises(ModelError, match="holds a gemma3"):
        load(mine).score(tiny_llava.noise(1), [""])
    (mine / "processor_config.json").write_text("[")
    with pytest.raises(ModelError, match="holds no processor that can be read"):
        load(mine).score(tiny_llava.noise(1), [""])
    (mine / "model.safetensors").rename(mine / "pytorch_model.bin")
    with pytest.raises(ModelError, match="a pickle can run code"):
        load(mine)


def test_policies_of_its_own_files_are_asked_and_a_missing_one_is_said(
    published: Path, tmp_path: Path, judge: Any
) -> None:
    mine = copy(published, tmp_path)
    file = mine / "processor_config.json"
    settings = json.loads(file.read_text())
    policies = {"dangerous": "No dogs.", "sexual": "No cats.", "violence": "No chairs.", "more": "Nothing."}
    file.write_text(json.dumps(settings | {"policy_definitions": policies}))
    images = tiny_llava.noise(2)
    assert (load(mine).score(images, [""] * 2) != judge.score(images, [""] * 2)).all()
    del policies["sexual"]
    file.write_text(json.dumps(settings | {"policy_definitions": policies}))
    with pytest.raises(ModelError, match="has no policy sexual"):
        load(mine).score(images, [""] * 2)


def test_it_is_asked_for_by_its_place_and_its_terms_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAGEN_WEIGHTS", str(tmp_path))
    judges._load_once.cache_clear()
    with pytest.raises(ModelError, match="hf download google/shieldgemma-2-4b-it --local-dir .*shieldgemma2"):
        judges.load("shieldgemma2", {})
    assert "gated" in judges.JUDGES.module("shieldgemma2").Judge.facts.weights_license


def test_a_lower_precision_is_another_version_and_near(published: Path, judge: Any) -> None:
    lower = load(published, precision="bfloat16")
    images = tiny_llava.noise(4)
    assert lower.score(images, [""] * 4) == pytest.approx(judge.score(images, [""] * 4), abs=0.1)
    assert lower.version != judge.version


def test_the_panel_asks_it_once_a_picture_and_keeps_a_column_a_policy(published: Path, tmp_path: Path) -> None:
    file = tmp_path / "it.png"
    tiny_llava.noise(1)[0].save(file)
    chosen = panel.load([JudgeChoice(name="shieldgemma2", options={"weights": str(published)})])
    (answer,) = panel.ask(chosen, [panel.Question(file, ("a dog", "a cat"))])
    assert answer.scores["shieldgemma2"].shape == (1, 3)
