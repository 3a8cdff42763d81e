"""Texts are read once, always in batches of one shape, and whole if asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from datagen.generators import stable_diffusion
from datagen.generators.engine import texts
from datagen.generators.engine.texts import Texts

CPU = torch.device("cpu")


@pytest.fixture(params=["sd15_folder", "sdxl_folder"])
def pipeline(request: pytest.FixtureRequest) -> Any:
    folder: Path = request.getfixturevalue(request.param)
    return stable_diffusion.load(str(folder), "", "ddim")._pipeline


@pytest.fixture
def shapes(pipeline: Any, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes of ids that the last text encoder was given."""
    seen: list[tuple[int, ...]] = []
    encoder = getattr(pipeline, "text_encoder_2", None) or pipeline.text_encoder
    forward = encoder.forward
    monkeypatch.setattr(encoder, "forward", lambda ids, **k: (seen.append(tuple(ids.shape)), forward(ids, **k))[1])
    return seen


@pytest.fixture(autouse=True)
def inference() -> Any:
    with torch.inference_mode():
        yield


def test_a_text_is_read_once_however_many_images_it_has(pipeline: Any, shapes: list[tuple[int, ...]]) -> None:
    known = Texts(pipeline)
    first = known.read(["a chef", "", "a chef", "a wizard"], 1, CPU)
    assert shapes == [(texts.BATCH, 77)]
    again = known.read(["a wizard", "a chef"], 1, CPU)
    assert len(shapes) == 1 and again[0] is first[3] and again[1] is first[0] is first[2]
    known.forget()
    assert torch.equal(known.read(["a chef"], 1, CPU)[0].hidden, first[0].hidden) and len(shapes) == 2


def test_what_a_text_is_read_as_depends_on_no_other(pipeline: Any) -> None:
    alone = Texts(pipeline).read(["a chef in a park"], 1, CPU)[0]
    many = Texts(pipeline).read([f"text {k}" for k in range(11)] + ["a chef in a park"], 1, CPU)[-1]
    assert torch.equal(alone.hidden, many.hidden)
    assert alone.pooled is many.pooled or torch.equal(alone.pooled, many.pooled)


def test_texts_to_come_fill_up_a_batch(pipeline: Any, shapes: list[tuple[int, ...]]) -> None:
    known = Texts(pipeline)
    ahead = [f"text {k}" for k in range(20)]
    known.read(["a", "b", "c"], 1, CPU, ahead)
    known.read(ahead[:5], 1, CPU)
    assert len(shapes) == 1
    known.read(ahead[:6], 1, CPU)
    assert len(shapes) == 2


def test_no_more_texts_are_kept_than_said(
    pipeline: Any, shapes: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(texts, "KEPT", 10)
    known = Texts(pipeline)
    for k in range(30):
        known.read([f"text {k}", "the negative"], 1, CPU)
        assert len(known._kept) <= 10
    reads = len(shapes)
    known.read(["the negative", "text 29"], 1, CPU)
    assert len(shapes) == reads == 30
    assert len(known.read([f"text {k}" for k in range(40)], 1, CPU)) == 40


def test_a_long_text_is_cut_off_or_read_in_windows(pipeline: Any) -> None:
    long = "abcdefghij " * 30  # a token a letter: 300 of them
    cut, whole = Texts(pipeline), Texts(pipeline, chunked=True)
    assert (cut.windows(long), cut.unread(long)) == (1, 300 + 2 - 77)
    assert (whole.windows(long), whole.unread(long)) == (4, 0)
    assert whole.unread(long, at_all=False) == 300  # where guidance is off, nothing is read of a negative
    endless = "a " * 10_000
    assert (whole.windows(endless), whole.unread(endless)) == (texts.WINDOWS, 10_000 - 75 * texts.WINDOWS)
    assert whole.unread("a " * 75 * texts.WINDOWS) == 0 and cut.unread("a " * 75) == 0
    short = ("a chef", "", "a " * 75)
    assert [whole.windows(text) for text in short] == [1, 1, 1] and whole.windows("a " * 76) == 2
    for text in short:
        (one,), (other,) = cut.read([text], 1, CPU), whole.read([text], 1, CPU)
        assert torch.equal(one.hidden, other.hidden)
    (read,) = whole.read([long], 4, CPU)
    assert read.hidden.shape[0] == 4 * 77
    letters = "".join(long.split())
    for k in range(4):
        # Letters that are cut apart are words of their own elsewhere, so the ids are compared, not the texts.
        row = whole.rows(long)[k][0]
        assert len(row) == 77 and row[0] == whole.rows("")[0][0][0]
    assert sum(len(row[0]) for row in whole.rows(long)) == 4 * 77 and len(letters) == 300
    assert torch.equal(read.hidden[:77], cut.read([long], 1, CPU)[0].hidden)
    if read.pooled is not None:
        assert torch.equal(read.pooled, cut.read([long], 1, CPU)[0].pooled)


def test_a_short_text_beside_a_long_one_is_followed_by_nothing(pipeline: Any) -> None:
    whole = Texts(pipeline, chunked=True)
    (read,), (short,), (empty,) = (whole.read(*given, CPU) for given in ((["a"], 3), (["a"], 1), ([""], 1)))
    assert torch.equal(read.hidden, torch.cat([short.hidden, empty.hidden, empty.hidden]))
