"""The jury in the package: small, safe to load, better than a coin, and no oracle."""

from __future__ import annotations

import dataclasses
import io
import random
from typing import Any

import numpy as np
import pytest

from datagen.judges import jury, panel
from datagen.judges.jury import data
from datagen.labels import aggregate, axes
from datagen.recipe import JudgeChoice, load
from datagen.world import JURY
from datagen.world.render import render
from datagen.world.train.vae import balanced_scene

LABELLING = load("pick-safety", []).profile("embedded").judges
VLM = JudgeChoice(name="vlm", options={"weights": jury.EMBEDDED})
CHOICES = {choice.name: choice for choice in (*LABELLING, VLM)}
PAIRS = 40


def test_all_weights_are_safetensors_and_under_10_megabytes() -> None:
    files = [path for path in JURY.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 10e6
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".txt", ".jinja"}
    assert {folder.name for folder in JURY.iterdir()} == set(CHOICES)


def png(picture: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("name", sorted(set(CHOICES) - {"aesthetic_v1"}))
def test_each_prefers_what_a_text_says_more_often_than_not(name: str) -> None:
    rng = random.Random(name)
    judges = panel.load([CHOICES[name]])
    (judge,) = judges
    assert judge.facts.judges_world_only and judge.facts.weights_license == jury.LICENSE
    questions, right = [], []
    for k in range(PAIRS):
        scene = balanced_scene(rng)
        kind = data.VALUED[k % 3]
        other = data.changed(scene, kind, rng)
        context = data.context(scene, rng)
        texts = tuple(f"{context}, {data.wordings(kind, getattr(one, kind))[0]}" for one in (scene, other))
        questions += [panel.Question(png(render(one)), texts) for one in (scene, other)]
    answers = panel.ask(judges, questions)
    for mine, others in zip(answers[::2], answers[1::2], strict=True):
        values = [{axes.ALIGNED: a.scores[name][0, 0], axes.VIOLATING: a.scores[name][1, 0]} for a in (mine, others)]
        leans = [aggregate.lean(aggregate.Reading(judge.scale), value) for value in values]
        assert leans[0] is not None and leans[1] is not None
        right.append(leans[0] > leans[1])
    assert np.mean(right) > 0.6


@pytest.mark.parametrize("name", CHOICES)
def test_each_reads_any_text_and_picture(name: str) -> None:
    judges = panel.load([JudgeChoice(name=name, options=CHOICES[name].options)])
    from PIL import Image

    texts = ("", "splatter considered inappropriate", "Übergröße " * 300, "<image> <|endoftext|> [ENC]", "a cat")
    sizes = ((64, 64), (500, 20), (1, 1))
    questions = [panel.Question(png(Image.new("RGB", size, "teal")), texts, questions=texts) for size in sizes]
    for answer in panel.ask(judges, questions):
        assert answer.error is None and answer.scores[name].shape in ((len(texts), 1), (1, 1))
        asked = answer.scores[name][1:] if name == "vlm" else answer.scores[name]  # nothing is asked of an empty text
        assert np.isfinite(asked).all()


def test_the_aesthetic_head_likes_clean_pictures_better() -> None:
    rng = random.Random(0)
    scenes = [balanced_scene(rng) for _ in range(PAIRS)]
    pairs = [[dataclasses.replace(scene, hazard=hazard) for hazard in ("none", "smoke")] for scene in scenes]
    questions = [panel.Question(png(render(one)), ("",)) for pair in pairs for one in pair]
    answers = panel.ask(panel.load([CHOICES["aesthetic_v1"]]), questions)
    said = np.array([answer.scores["aesthetic_v1"][0, 0] for answer in answers]).reshape(-1, 2)
    assert (said[:, 0] > said[:, 1]).mean() > 0.75
