"""The answers of a review: on the disk before they count, and a killed process costs none of them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.errors import RunError
from datagen.review import journal as journals
from datagen.review.journal import ANSWERS, Journal, Planned

PAIRS = [Planned(f"p{k}", f"a{k}", f"b{k}", "rest" if k % 2 else "uncertain", k % 3 == 0) for k in range(6)]


def begun(folder: Path) -> Journal:
    journal = Journal(folder / journals.FILE)
    journal.plan(PAIRS, {"uncertain": 10, "rest": 30})
    return journal


@settings(max_examples=25)
@given(st.lists(st.one_of(st.tuples(st.integers(0, 5), st.sampled_from(ANSWERS)), st.none()), max_size=20))
def test_what_is_read_again_is_what_was_said(tmp_path_factory: pytest.TempPathFactory, acts: list[object]) -> None:
    journal = begun(tmp_path_factory.mktemp("journal"))
    for act in acts:
        if isinstance(act, tuple):
            journal.answer(PAIRS[act[0]], act[1])
        else:
            journal.undo()
    again = Journal(journal.path)
    assert list(again.answers.items()) == list(journal.answers.items())
    assert again.planned == PAIRS and again.sizes == {"uncertain": 10, "rest": 30} and not again.torn


def test_undo_takes_back_one_answer_after_the_other_and_ends_at_none(tmp_path: Path) -> None:
    journal = begun(tmp_path)
    journal.answer(PAIRS[0], "chosen")
    journal.answer(PAIRS[1], "tie")
    assert [journal.undo() for _ in range(3)] == [PAIRS[1].pair_id, PAIRS[0].pair_id, None]
    assert Journal(journal.path).answers == {}


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_half_a_line_of_a_killed_process_is_cut_off_and_nothing_else(tmp_path: Path, cut: int) -> None:
    journal = begun(tmp_path)
    for pair in PAIRS[:3]:
        journal.answer(pair, "chosen")
    os.truncate(journal.path, journal.path.stat().st_size - cut)
    again = Journal(journal.path)
    assert again.torn and list(again.answers) == [pair.pair_id for pair in PAIRS[:2]]
    again.answer(PAIRS[2], "rejected")
    last = Journal(journal.path)
    assert not last.torn and last.answers[PAIRS[2].pair_id] == "rejected"


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        "[1]",
        "{}",
        '{"pair_id": "x", "answer": "maybe"}',
        '{"pair_id": "x", "undo": true}',
        '{"sample": [[1]]}',
    ],
)
def test_a_line_that_is_not_ours_is_named_and_nothing_is_written(tmp_path: Path, line: str) -> None:
    journal = begun(tmp_path)
    with journal.path.open("a") as file:
        file.write(f"{line}\n")
    before = journal.path.read_bytes()
    with pytest.raises(RunError, match=r"review\.jsonl, line 2, is not of a review"):
        Journal(journal.path)
    assert journal.path.read_bytes() == before


def test_an_answer_that_the_disk_refuses_does_not_count_and_leaves_no_half_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = begun(tmp_path)
    before, write = journal.path.read_bytes(), os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:7]))
    with pytest.raises(RunError, match="disk full"):
        journal.answer(PAIRS[0], "chosen")
    monkeypatch.undo()
    assert journal.path.read_bytes() == before and not journal.answers
    journal.answer(PAIRS[0], "chosen")
    assert json.loads(journal.path.read_text().splitlines()[-1])["answer"] == "chosen"


def test_which_image_was_on_the_left_and_the_stratum_are_kept_with_an_answer(tmp_path: Path) -> None:
    journal = begun(tmp_path)
    for pair in PAIRS:
        journal.answer(pair, "tie")
    lines = [json.loads(line) for line in journal.path.read_text().splitlines()[1:]]
    assert [line["left"] == "rejected" for line in lines] == [pair.turned for pair in PAIRS]
    assert [line["stratum"] for line in lines] == [pair.stratum for pair in PAIRS]
