"""A panel asks every judge once a chunk, and holds each to what a judge may give."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datagen.errors import ModelError
from datagen.judges import panel
from datagen.judges.panel import Answer, Question


class Gives:
    """A judge that gives what it was made with."""

    version, scale, absolute = "1", 1.0, False

    def __init__(self, name: str, *values: Any) -> None:
        self.name, self.values = name, values
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
    assert answers == [
        Answer({"first": [1, 3], "second": [0.5, None]}, None),
        Answer({"first": [None, None], "second": [None, None]}, "no image: refused"),
        Answer({"first": [2, 4], "second": [None, -1.5]}, None),
    ]
    assert first.asked == second.asked == [["a", "e", "b", "f"]]


def test_nobody_is_asked_about_nothing() -> None:
    judge = Gives("judge", np.zeros(0))
    assert panel.ask([judge], []) == []
    assert panel.ask([judge], [Question(b"cut", ("a",)), Question(None, ("b",))])[1] == Answer(
        {"judge": [None]}, "no image"
    )
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
