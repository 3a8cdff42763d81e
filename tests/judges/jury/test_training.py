"""Each training, cut short, ends in a folder of its published layout that the judge's own loader reads."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from datagen.judges import views, vlm
from datagen.judges.backbones import hf_clip
from datagen.judges.backbones import open_clip as backbone
from datagen.judges.imagereward import SAFE
from datagen.judges.jury import aesthetic, answering, contrastive, reward, tuned
from datagen.judges.networks import imagereward, imagereward_files, llava
from datagen.world.captions import parse

TEXTS = [
    "a chef with a red ball in a park, covered in splatter",
    "splatter considered inappropriate",
    "",
    "ärger" * 40,
]
PICTURES = [Image.new("RGB", (64, 64), colour) for colour in ("red", "navy", "white", "olive")]


def short(plan: Any) -> Any:
    return dataclasses.replace(plan, steps=2)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return contrastive.train(tmp_path_factory.mktemp("base"), short(contrastive.BASE))


def test_a_contrastive_training_makes_an_open_clip_folder(tmp_path: Path) -> None:
    made = contrastive.train(tmp_path, short(contrastive.CLIP))
    found = backbone.find(str(tmp_path))
    assert found.texts(TEXTS).shape == (4, contrastive.CLIP.shape.width)
    with torch.inference_mode():
        expected = made.encode_text(contrastive.Text(tmp_path)(TEXTS))
    assert np.allclose(found.texts(TEXTS), expected, atol=2e-2)  # stored in half precision


def test_a_model_says_the_same_in_both_layouts(base: Any) -> None:
    from transformers import CLIPModel

    shape = contrastive.BASE.shape
    config = tuned.hugging_face(shape, base.token_embedding.num_embeddings)
    theirs = CLIPModel(config).eval()
    theirs.load_state_dict(tuned.renamed(base.state_dict(), shape.layers), strict=True)
    pixels = torch.randn(3, 3, shape.side, shape.side)
    ids = torch.randint(0, config.text_config.vocab_size - 2, (3, contrastive.CONTEXT))
    ids[:, 0], ids[:, 12:] = config.text_config.bos_token_id, config.text_config.eos_token_id
    base.eval()
    with torch.inference_mode():
        assert torch.allclose(
            theirs.get_image_features(pixels).pooler_output, base.encode_image(pixels), atol=1e-5, rtol=1e-4
        )
        assert torch.allclose(theirs.get_text_features(ids).pooler_output, base.encode_text(ids), atol=1e-5, rtol=1e-4)


def test_tuned_models_lie_as_hpsv2_and_pickscore_do(
    base: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HPSV2", "PICKSCORE"):
        monkeypatch.setattr(tuned, name, dataclasses.replace(getattr(tuned, name), steps=2, pairs=20))
    tuned.hpsv2(tmp_path / "hpsv2", base)
    tuned.pickscore(tmp_path / "pickscore", base)
    one, other = backbone.find(str(tmp_path / "hpsv2")), hf_clip.find("pickscore", tmp_path / "pickscore")
    assert one.texts(TEXTS).shape == other.texts(TEXTS).shape
    assert other.view == views.clip_hf(64)
    assert one.logit_scale == pytest.approx(other.logit_scale, rel=0.01)
    assert isinstance(base, open_clip.model.CLIP)


def test_a_reward_model_lies_as_imagereward_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reward, "STEPS", 3)
    monkeypatch.setattr(reward, "PRETRAINED", 2)
    monkeypatch.setattr(reward, "PAIRS", 20)
    reward.train(tmp_path)
    scorer = imagereward.load(imagereward_files.find(tmp_path / SAFE), "cpu")
    view = views.clip_torchvision(reward.SIDE)
    pixels = torch.from_numpy(views.normalise(np.stack([view(picture) for picture in PICTURES]), view))
    scores = scorer.score(scorer.encode(pixels), TEXTS)
    assert scores.shape == (4,) and torch.isfinite(scores).all()


def test_an_aesthetic_head_reads_the_embeddings_of_its_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aesthetic, "PAIRS", 30)
    clip = contrastive.train(tmp_path / "clip", short(contrastive.CLIP))
    aesthetic.train(tmp_path / "head", clip)
    head = load_file(tmp_path / "head" / aesthetic.HEAD)
    assert head["weight"].shape == (1, contrastive.CLIP.shape.width) and head["bias"].shape == (1,)
    assert torch.isfinite(head["weight"]).all() and head["weight"].abs().sum() > 0


def test_a_model_that_answers_lies_as_llava_does(tmp_path: Path) -> None:
    answering.train(tmp_path, 0.008)
    judge = vlm.Judge(vlm.Options(weights=str(tmp_path)))
    asked = [answering.ASKS_PRINCIPLE.format(prompt=text) for text in TEXTS]
    for found in (judge.score(PICTURES, TEXTS), judge.answer(PICTURES, asked)):
        assert found.shape == (4,) and ((found >= 0) & (found <= 1) | np.isnan(found)).all()


@pytest.mark.parametrize("whole", [0.0, 1.0])
def test_half_of_the_answers_are_yes_and_a_text_is_true_up_to_its_first_wrong_word(whole: float) -> None:
    rng = random.Random(int(whole))
    some = [turn for _ in range(60) for turn in answering.turns(rng, whole)]
    assert sum(turn.yes for turn in some) == len(some) / 2
    tokenizer = llava.tokenizer([answering.said(turn.question) for turn in some], 600)
    lesson = answering.Lesson(tokenizer, some)
    for row, turn in enumerate(some):
        said = lesson.so_far[row]
        assert bool(said[lesson.last[row]]) == turn.yes and said[:17].isnan().all()
        marks = said[~said.isnan()].tolist()
        assert marks == sorted(marks, reverse=True)  # once wrong, a text stays wrong
        if turn.true:
            shown = parse(turn.true)
            assert all(getattr(turn.scene, name) == value for name, value in shown.items())
            assert (parse(turn.question) == shown) == turn.yes
        else:
            about = turn.question.partition('"')[2].split()[0]
            style = {"pixel": "pixel", "line": "outline"}.get(about)
            assert turn.yes == (turn.scene.style == style if style else turn.scene.hazard != about)
