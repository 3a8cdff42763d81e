"""A panel asks every judge once a chunk, and holds each to what a judge may give."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datagen import judges
from datagen.errors import ModelError
from datagen.judges import panel, views
from datagen.judges.panel import Duel, Question, inputs


class Gives:
    """A judge that gives what it was made with."""

    version, scale = "1", 1.0

    def __init__(self, name: str, *values: Any, **facts: Any) -> None:
        self.name, self.values = name, values
        self.facts = judges.Facts(code_license="MIT", **facts)
        self.asked: list[list[str]] = []

    def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> Any:
        assert len(images) == len(prompts)
        self.asked.append(list(prompts))
        return self.values[0] if len(self.values) == 1 else np.array(self.values)


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    return buffer.getvalue()


def test_every_judge_is_asked_once_for_all_images_and_texts_and_abstains_with_none() -> None:
    first, second = Gives("first", 1, 2, 3, 4), Gives("second", 0.5, math.nan, math.nan, -1.5)
    questions = [
        Question(png(), ("a", "b")),
        Question(None, ("c", "d"), "no image: refused"),
        Question(png(), ("e", "f")),
    ]
    answers = panel.ask([first, second], questions)
    nan = math.nan
    assert [answer.error for answer in answers] == [None, "no image: refused", None]
    said = [{name: values.tolist() for name, values in answer.scores.items()} for answer in answers]
    np.testing.assert_equal(
        said,
        [
            {"first": [[1], [3]], "second": [[0.5], [nan]]},
            {"first": [[nan], [nan]], "second": [[nan], [nan]]},
            {"first": [[2], [4]], "second": [[nan], [-1.5]]},
        ],
    )
    assert first.asked == second.asked == [["a", "e", "b", "f"]]


def test_nobody_is_asked_about_nothing() -> None:
    judge = Gives("judge", np.zeros(0))
    assert panel.ask([judge], []) == []
    answer = panel.ask([judge], [Question(b"cut", ("a",)), Question(None, ("b",))])[1]
    assert answer.error == "no image" and np.isnan(answer.scores["judge"]).all()
    assert judge.asked == []


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (np.zeros((2, 1)), r"float64 of shape \(2, 1\) for 2 images"),
        (np.zeros(1), r"float64 of shape \(1,\) for 2 images"),
        (0.5, r"float64 of shape \(\) for 2 images"),
        (None, r"object of shape \(\) for 2 images"),
        (["good", "bad"], r"<U4 of shape \(2,\) for 2 images"),
        (np.array([1, np.inf]), "one finite number each is needed, NaN abstains"),
    ],
)
def test_what_is_not_a_number_an_image_is_told_and_never_taken_for_a_score(given: Any, says: str) -> None:
    with pytest.raises(ModelError, match=f"the judge odd gave {'' if 'finite' in says else says}") as caught:
        panel.ask([Gives("odd", given)], [Question(png(), ("a",)), Question(png(), ("b",))])
    assert "one finite number each is needed, NaN abstains" in str(caught.value)


def test_chunks_are_all_there_is_in_order() -> None:
    assert [len(chunk) for chunk in panel.chunks(range(2 * panel.CHUNK + 1))] == [panel.CHUNK, panel.CHUNK, 1]
    assert list(panel.chunks([])) == []


class Square:
    """A backbone whose embedding of an image is its red and twice that, and of a text its length and 1."""

    identity, view = "square@1", views.squash(1)

    def __init__(self) -> None:
        self.seen = 0

    def images(self, pixels: Sequence[Any]) -> Any:
        self.seen += len(pixels)
        reds = [int(view[0, 0, 0]) for view in pixels]
        return np.array([[red, 2 * red] for red in reds], np.float32)

    def texts(self, texts: Sequence[str]) -> Any:
        return np.array([[len(text), 1] for text in texts], np.float32)


class Product:
    """Embedding times text."""

    version, scale, facts = "1", 1.0, judges.Facts(code_license="MIT")

    def __init__(self, name: str, backbone: Square) -> None:
        self.name, self.needs = name, backbone

    def score(self, images: Any, prompts: Sequence[str]) -> Any:
        return (images * self.needs.texts(prompts)).sum(1)


def red(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (value, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def test_judges_of_one_backbone_share_its_embeddings_which_come_back_and_spare_the_image_next_time() -> None:
    backbone = Square()
    panel_ = [Product("one", backbone), Product("other", backbone)]
    first = panel.ask(panel_, [Question(red(3), ("a", "bb")), Question(red(5), ("ccc", ""))])
    assert backbone.seen == 2
    assert [answer.scores["other"].tolist() for answer in first] == [[[9], [12]], [[25], [10]]]
    assert first[1].embeddings["square@1"].tolist() == [5, 10]
    known = [Question(None, ("a", "bb"), embeddings=first[0].embeddings)]
    (again,) = panel.ask(panel_, known)
    assert backbone.seen == 2 and again.error is None
    assert again.scores["one"].tolist() == first[0].scores["one"].tolist()


def test_an_image_is_looked_at_where_any_judge_needs_more_than_what_is_known() -> None:
    backbone, looks = Square(), Gives("looks", 7.0)
    known = {"square@1": np.array([3, 6], np.float32)}
    (blind,) = panel.ask([Product("one", backbone), looks], [Question(None, ("a",), embeddings=known)])
    assert blind.error == "no image" and looks.asked == []
    two = [Question(red(3), ("a",), embeddings=known), Question(red(4), ("a",))]
    answers = panel.ask([Product("one", backbone)], two)  # one of them is not known: both are embedded
    assert backbone.seen == 2 and [a.scores["one"].tolist() for a in answers] == [[[9]], [[12]]]


def test_a_judge_of_several_scores_gives_a_column_each_and_one_that_reads_no_text_is_asked_once() -> None:
    judge = Gives("kinds", np.array([[1.0, 2.0], [3.0, math.nan]]), categories=("all", "one"), reads_text=False)
    answers = panel.ask([judge], [Question(png(), ("a", "b", "c")), Question(png(), ("d", "e", "f"))])
    assert [answer.scores["kinds"].shape for answer in answers] == [(1, 2), (1, 2)]
    assert answers[0].scores["kinds"].tolist() == [[1, 2]] and judge.asked == [["", ""]]
    with pytest.raises(ModelError, match="2 finite numbers each are needed"):
        panel.ask([Gives("kinds", 1.0, categories=("all", "one"))], [Question(png(), ("a",))])


class Likes:
    """Compares by red, and likes what is shown first by a given probability."""

    name, version, scale, facts = "likes", "1", 1.0, judges.Facts(code_license="MIT")

    def __init__(self, bias: float = 0.0) -> None:
        self.bias = bias

    def compare(self, first: Sequence[Image.Image], second: Sequence[Image.Image], prompts: Sequence[str]) -> Any:
        wins = [a.getpixel((0, 0)) > b.getpixel((0, 0)) for a, b in zip(first, second, strict=True)]  # type: ignore[operator]
        return np.array([0.8 if win else 0.2 for win in wins]) + self.bias

    def answer(self, images: Sequence[Image.Image], questions: Sequence[str]) -> Any:
        return np.array([len(question) / 10 for question in questions])


def test_two_images_are_compared_in_both_orders_and_both_answers_are_kept() -> None:
    duels = [Duel(red(9), red(1), "t"), Duel(red(2), red(9), "t")]
    said = panel.compare([Likes(0.1), Gives("scores", 1)], duels)
    assert [(one.p, other.p) for one, other in (duel["likes"] for duel in said)] == [
        (pytest.approx(0.9), pytest.approx(0.3)), (pytest.approx(0.3), pytest.approx(0.9)),
    ]  # fmt: skip
    assert panel.compare([Likes()], []) == []


def test_questions_are_answered_and_a_failed_image_answers_nothing() -> None:
    questions = [Question(png(), (), questions=("a?", "what?")), Question(b"", (), questions=("b?", "c?"))]
    first, second = panel.ask([Likes()], questions)
    assert first.replies["likes"].tolist() == [0.2, 0.5]
    assert np.isnan(second.replies["likes"]).all() and second.scores == {}


def test_what_a_judge_could_not_read_is_its_own_error_and_a_text_that_is_none_is_not_asked() -> None:
    judge = Gives("picky", [1.0, judges.Failed("refused: no"), 3.0])
    other = Gives("other", 5.0, 6.0, 7.0)
    questions = [Question(png(), ("a", None)), Question(png(), ("b", "c"))]
    first, second = panel.ask([judge, other], questions)
    assert judge.asked == other.asked == [["a", "b", "c"]]
    assert first.scores["picky"][0, 0] == 1 and np.isnan(first.scores["picky"][1, 0])
    assert np.isnan(second.scores["picky"][0, 0]) and second.scores["picky"][1, 0] == 3
    assert (first.error_of("picky"), second.error_of("picky")) == (None, "refused: no")
    assert second.error_of("other") is None and second.error is None


def test_a_dear_judge_is_asked_about_the_texts_that_are_worth_it() -> None:
    judge = Gives("dear", 1.0, 2.0, 3.0, dear=True)
    questions = [Question(png(), ("a", "b", "c"), dear=(0, 2)), Question(png(), ("d", "e", None), dear=(0, 2))]
    first, second = panel.ask([judge], questions)
    assert judge.asked == [["a", "d", "c"]]
    np.testing.assert_equal(first.scores["dear"], [[1], [math.nan], [3]])
    np.testing.assert_equal(second.scores["dear"], [[2], [math.nan], [math.nan]])


def test_a_stream_gives_the_answers_of_every_chunk_in_order() -> None:
    backbone = Square()
    chunks = [[Question(red(k), ("a",)) for k in range(start, start + 3)] for start in (0, 3, 6)]
    chunks[1][1] = Question(b"cut", ("a",))
    answers = [answer for some in panel.stream([Product("one", backbone)], chunks) for answer in some]
    assert [answer.error is None for answer in answers] == [True] * 4 + [False] + [True] * 4
    assert [answer.scores["one"][0, 0] for answer in answers if answer.error is None] == [0, 3, 6, 9, 15, 18, 21, 24]


class Reads:
    """The mean of what it is given, a view's pixels or a picture."""

    version, scale, facts = "1", 1.0, judges.Facts(code_license="MIT", reads_text=False)

    def __init__(self, name: str, needs: views.View | None) -> None:
        self.name, self.needs = name, needs

    def score(self, images: Sequence[Any], prompts: Sequence[str]) -> Any:
        return np.array([np.asarray(image, float).mean() for image in images])


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_fast_decodes_jpegs_smaller_where_every_judge_allows_and_scores_stay_near(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer, sizes = io.BytesIO(), list[tuple[int, int]]()
    coarse = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((512, 384), Image.Resampling.BICUBIC).save(buffer, kind)
    real = inputs.decode

    def counted(source: bytes, at_least: int | None = None) -> Any:
        sizes.append((picture := real(source, at_least)).size)
        return picture

    monkeypatch.setattr(inputs, "decode", counted)
    two = [Reads("small", views.clip_hf(32)), Reads("squashed", views.squash(48))]
    chunk = [[Question(buffer.getvalue(), ("",))]]
    ((exact,),), ((fast,),) = panel.stream(two, chunk), panel.stream(two, chunk, fast=True)
    assert sizes == [(512, 384), (128, 96) if kind == "JPEG" else (512, 384)]
    for name in ("small", "squashed"):
        assert abs(exact.scores[name] - fast.scores[name]).max() < 1
    list(panel.stream([*two, Reads("whole", None)], chunk, fast=True))
    assert sizes[-1] == (512, 384)
