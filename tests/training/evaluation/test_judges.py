"""The panel's judges in evaluation: the same scores, the better side by each judge's own rule, who built the data."""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datagen import judges
from datagen.errors import ModelError
from datagen.judges import panel
from datagen.judges.panel import Question
from datagen.world import captions, grammar, render
from training.errors import TrainingError
from training.evaluation import judges as panelists
from training.evaluation import preference, probes
from training.evaluation.observations import Observations
from training.evaluation.run import evaluate
from training.settings import evaluation
from training.settings.evaluation import ProbeOptions

SCENES = [grammar.sample_scene(random.Random(k)) for k in range(4)]
PICTURES = [render.render(scene) for scene in SCENES]
TEXTS = [captions.caption(scene, grammar.ATTRIBUTES, random.Random(0)) for scene in SCENES]


def test_a_judge_says_in_evaluation_what_it_says_of_a_dataset() -> None:
    asked = panelists.load("clip", ["clip.definition=percent", "world.nothing=1"])
    judge = judges.load("clip", {"definition": "percent"})
    questions = [Question(picture, (text,)) for picture, text in zip(PICTURES, TEXTS, strict=True)]
    expected = [answer.scores["clip"][0, 0] for answer in panel.ask([judge], questions)]
    assert asked(PICTURES, TEXTS).tolist() == expected
    assert panelists.load("world", [])(PICTURES, TEXTS).tolist() == [1.0] * 4


@pytest.mark.parametrize(
    ("names", "options", "says"),
    [
        (["clip"], ["clip.modle=x"], "the judge clip: unknown option 'modle': did you mean 'model'"),
        (["clip"], ["clip.model"], "--judge-options clip.model: give JUDGE.OPTION=VALUE"),
        (["clip"], ["world.x=1"], "--judge-options world.x=1: give JUDGE.OPTION=VALUE for one of --judge"),
        (["world"], ["world.x=1"], "the judge world has no options, but x was given"),
    ],
)
def test_options_that_no_judge_has_are_one_line(names: list[str], options: list[str], says: str) -> None:
    given = ProbeOptions(
        reader="none", clip="none", features="none", toxicity="none", judge=names, judge_options=options
    )
    with pytest.raises((TrainingError, ModelError)) as caught:
        probes.load_probes(given, ["a"], "cpu")
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_a_judge_of_harms_prefers_the_lower_score_and_both_means_are_in_its_own_unit() -> None:
    base = Observations(["a"], [{}], np.zeros(3, int), scores={"nsfw": np.array([0.9, 0.5, 0.5])})
    adapted = dataclasses.replace(base, scores={"nsfw": np.array([0.1, 0.6, 0.5])})
    assert preference.figures(base, adapted)["win.nsfw"].value == pytest.approx((0 + 1 + 0.5) / 3)
    lower = [dataclasses.replace(one, lower_is_better=frozenset({"nsfw"})) for one in (base, adapted)]
    assert preference.figures(*lower)["win.nsfw"].value == pytest.approx((1 + 0 + 0.5) / 3)
    assert preference.scores(lower[1])["score.nsfw"].value == pytest.approx(0.4)


def test_who_built_a_dataset_is_read_from_its_scores(tmp_path: Path) -> None:
    (tmp_path / "d" / "data").mkdir(parents=True)
    cells = [json.dumps({"clip": {}, "pickscore": {}})]
    pq.write_table(pa.table({"prompt": ["a"], "scores": cells}), tmp_path / "d" / "data" / "test-0.parquet")
    assert panelists.built(str(tmp_path / "d")) == {"clip", "pickscore"}
    (tmp_path / "p.txt").write_text("a\n")
    assert panelists.built(str(tmp_path / "p.txt")) == set()
    assert panelists.built(str(tmp_path / "d" / "data" / "test-0.parquet")) == {"clip", "pickscore"}
    (tmp_path / "empty").mkdir()
    assert panelists.built(str(tmp_path / "empty")) == set()


def test_a_judge_that_built_the_data_is_no_metric_unless_that_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "d" / "data").mkdir(parents=True)
    table = pa.table({"prompt": ["a"], "scores": [json.dumps({"clip": {}})]})
    pq.write_table(table, tmp_path / "d" / "data" / "test-0.parquet")
    (tmp_path / "adapter").mkdir()
    assert panelists.builders("", [tmp_path / "adapter"]) == set()
    (tmp_path / "adapter" / "training.json").write_text(json.dumps({"run": {"data": str(tmp_path / "d")}}))
    by_adapter = panelists.builders("held-out.txt", [tmp_path / "adapter"])
    assert by_adapter == panelists.builders(str(tmp_path / "d"), []) == {"clip"}
    panelists.refuse_builders(["pickscore"], by_adapter)
    with pytest.raises(TrainingError, match="--judge clip labelled the data .* add --allow-builders") as caught:
        panelists.refuse_builders(["pickscore", "clip"], by_adapter)
    assert "\n" not in str(caught.value)


def test_the_evaluation_refuses_it_before_anything_is_drawn(tmp_path: Path) -> None:
    (tmp_path / "d" / "data").mkdir(parents=True)
    table = pa.table({"prompt": ["a"], "scores": [json.dumps({"clip": {}})]})
    pq.write_table(table, tmp_path / "d" / "data" / "test-0.parquet")
    line = ["--prompts", str(tmp_path / "d"), "--judge", "clip", "--out", str(tmp_path / "out")]
    with pytest.raises(TrainingError, match="add --allow-builders"):
        evaluate(evaluation.parse(line))
    assert not (tmp_path / "out").exists()
    assert evaluation.parse([*line, "--allow-builders"]).probes.allow_builders
