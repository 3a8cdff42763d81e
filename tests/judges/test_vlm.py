"""The judge that asks a vision language model: what it asks of texts and questions, and what it says is missing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_llava

from datagen import judges
from datagen.errors import ModelError
from datagen.judges import panel
from datagen.judges.networks import vlm
from datagen.recipe import JudgeChoice

TEXTS = ["a red chair", "{0} {prompt} %s", "<image> of a dog", "Ein Gärtner", "a red chair"]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llava.save(tmp_path_factory.mktemp("vlm") / "tiny-llava")


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """At random a model says neither yes nor no; here it counts all the same."""
    monkeypatch.setattr(vlm, "ANSWERED", 0)
    judges._load_once.cache_clear()
    yield
    judges._load_once.cache_clear()


def load(folder: Path, name: str = "vlm", **options: Any) -> Any:
    return judges.load(name, {"weights": str(folder)} | options)


@pytest.mark.parametrize("rule", ["variants", "livo", "vqascore"])
def test_a_text_is_scored_by_the_question_whether_the_image_shows_it(rule: vlm.Rule, published: Path) -> None:
    images = tiny_llava.noise(len(TEXTS))
    asked = [f'Does this image show "{text}"? Answer with yes or no.' for text in TEXTS]
    wanted = vlm.load(vlm.find(published), "float32").ask(images, asked, rule).tolist()
    judge = load(published, rule=rule)
    found = judge.score(images, TEXTS)
    assert found.dtype == np.float64 and found.tolist() == pytest.approx(wanted, abs=1e-5)
    assert ((found > 0) & (found < 1)).all() and np.ptp(found) > 1e-6
    answers = judge.answer(images, [f'Does this image show "{text}"?' for text in TEXTS])
    assert answers.tolist() == pytest.approx(found.tolist(), abs=1e-5)


def test_other_words_may_be_asked(published: Path) -> None:
    images = tiny_llava.noise(2)
    model = vlm.load(vlm.find(published), "float32")
    judge = load(published, question='Does this figure show "{prompt}"?', request="Please answer yes or no.")
    wanted = model.ask(images, ['Does this figure show "a"? Please answer yes or no.'] * 2).tolist()
    assert judge.score(images, ["a", "a"]).tolist() == pytest.approx(wanted, abs=1e-5)
    bare = load(published, question="{prompt}", request="")
    assert bare.score(images, ["a", "a"]).tolist() == pytest.approx(model.ask(images, ["a", "a"]).tolist(), abs=1e-5)
    assert len({load(published).version, judge.version, bare.version}) == 3


def test_nothing_is_asked_of_an_empty_text_and_nothing_twice(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judge, images, asked = load(published), tiny_llava.noise(2), list[str]()
    ask = judge._model.ask

    def counted(images: Any, questions: Any, rule: Any) -> Any:
        asked.extend(questions)
        return ask(images, questions, rule)

    monkeypatch.setattr(judge._model, "ask", counted)
    found = judge.score([images[0], images[1], images[0], images[0], images[0]], ["a", "a", "", "a", "b"])
    assert len(asked) == 3 and np.isnan(found).tolist() == [False, False, True, False, False]
    assert found[0] == found[3] != found[1]
    assert np.isnan(judge.answer(images, ["", ""])).all() and judge.score([], []).shape == (0,)


def test_the_panel_asks_it_of_texts_and_questions(published: Path, tmp_path: Path) -> None:
    file = tmp_path / "it.png"
    tiny_llava.noise(1)[0].save(file)
    chosen = panel.load([JudgeChoice(name="vlm", options={"weights": str(published), "rule": "livo"})])
    (answer,) = panel.ask(chosen, [panel.Question(file, ("a dog", ""), questions=("Is it red?",))])
    image = tiny_llava.noise(1)[0]
    judge = load(published, rule="livo")
    assert answer.scores["vlm"][:, 0].tolist() == pytest.approx(
        judge.score([image] * 2, ["a dog", ""]), abs=1e-5, nan_ok=True
    )
    assert answer.replies["vlm"].tolist() == pytest.approx(judge.answer([image], ["Is it red?"]), abs=1e-5)


def test_the_version_follows_the_weights_the_rule_and_the_precision(published: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(published, tmp_path / published.name))
    assert load(published).version == load(other).version == load(published, precision="float32").version
    versions = {load(published, **options).version for options in ({}, {"rule": "livo"}, {"precision": "bfloat16"})}
    assert len(versions) == 3


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_half_precision_is_near(precision: str, published: Path) -> None:
    images = tiny_llava.noise(4)
    exact, near = (
        load(published, rule="livo", precision=one).score(images, TEXTS[:4]) for one in ("float32", precision)
    )
    assert near.tolist() == pytest.approx(exact.tolist(), abs=0.1) and near.tolist() != exact.tolist()


@pytest.mark.parametrize("name", ["vlm", "livo_toxicity"])
def test_what_is_missing_is_said_with_where_it_belongs(
    name: str, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATAGEN_WEIGHTS", str(tmp_path))
    with pytest.raises(ModelError, match=f"the judge {name} needs the folder of llava-hf/llava-1.5-7b-hf") as caught:
        judges.load(name, {})
    assert str(tmp_path / name) in str(caught.value) and "\n" not in str(caught.value)
    shutil.copytree(published, tmp_path / name)
    assert judges.load(name, {}).version.split("@")[1] == load(published, name).version.split("@")[1]
    (tmp_path / name / "model.safetensors").unlink()
    judges._load_once.cache_clear()
    with pytest.raises(ModelError, match="has no weights"):
        judges.load(name, {})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"question": "Is it a dog?"}, "option question is"),
        ({"rule": "loudest"}, "option rule is 'loudest'"),
        ({"precision": "int4"}, "option precision is 'int4'"),
        ({"model": "llava"}, "unknown option 'model'"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], words: str, published: Path) -> None:
    with pytest.raises(ModelError, match=words):
        load(published, **options)
