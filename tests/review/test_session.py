"""One person's way through a sample: what is shown tells nothing of which image is which, and no answer is lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from datagen.errors import InputError
from datagen.review import journal as journals
from datagen.review.journal import Journal, Planned
from datagen.review.pictures import Shown
from datagen.review.session import Asked, Session

PAIRS = [Planned(f"p{k}", f"a{k}", f"b{k}", "rest", k == 1) for k in range(4)]
TEXTS = {f"p{k}": Asked(f"a chair {k}", "calm preferred.", k == 2) for k in range(4)}


class Pictures:
    """The name of an image as its picture; `broken` ones cannot be read."""

    def __init__(self, *broken: str) -> None:
        self.broken = broken

    def both(self, pair: Planned) -> tuple[Shown, Shown]:
        one, other = (
            Shown(b"", "the image is empty (0 bytes)") if name in self.broken else Shown(name.encode())
            for name in (pair.chosen_id, pair.rejected_id)
        )
        return one, other


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return begun(tmp_path)


def begun(folder: Path, texts: dict[str, Asked] = TEXTS, broken: tuple[str, ...] = ()) -> Session:
    journal = Journal(folder / journals.FILE)
    if not journal.planned:
        journal.plan(PAIRS, {"rest": 4})
    return Session(journal, texts, Pictures(*broken))  # type: ignore[arg-type]


def test_left_and_right_become_chosen_and_rejected_by_the_side_they_were_shown_on(session: Session) -> None:
    for said in ("left", "left", "right", "tie"):
        session.answer(session.left()[0].pair_id, said)
    assert list(session.journal.answers.values()) == ["chosen", "rejected", "rejected", "tie"]
    assert session.pictures(PAIRS[0])[0].data == b"a0" and session.pictures(PAIRS[1])[0].data == b"b1"
    assert session.state()["pair"] is None and session.state()["decisive"] == 3


def test_what_is_shown_names_no_side_no_judge_and_no_probability(session: Session) -> None:
    told = session.state()["pair"]
    assert set(told) == {"id", "prompt", "principle", "harmful", "errors"}
    assert not {"a0", "b0", "chosen", "rejected"} & set(json.dumps(told).replace('"', " ").split())


def test_who_comes_back_goes_on_where_they_were(session: Session, tmp_path: Path) -> None:
    session.answer(PAIRS[0].pair_id, "right")
    session.answer(PAIRS[1].pair_id, "skip")
    state = begun(tmp_path).state()
    assert (state["done"], state["skipped"], state["pair"]["id"]) == (2, 1, PAIRS[2].pair_id)
    assert state["pair"]["harmful"]


def test_the_same_answer_twice_is_one_and_another_is_refused_until_the_first_is_taken_back(session: Session) -> None:
    session.answer(PAIRS[0].pair_id, "left")
    session.answer(PAIRS[0].pair_id, "left")
    with pytest.raises(InputError, match="answered already, in another window"):
        session.answer(PAIRS[0].pair_id, "right")
    session.undo()
    assert session.state()["pair"]["id"] == PAIRS[0].pair_id
    session.answer(PAIRS[0].pair_id, "right")
    assert session.journal.answers == {PAIRS[0].pair_id: "rejected"}


@pytest.mark.parametrize(
    ("pair", "said"), [("nothing", "left"), ("", "left"), (PAIRS[0].pair_id, "chosen"), (PAIRS[0].pair_id, "")]
)
def test_what_is_no_pair_and_what_is_no_answer_is_refused(session: Session, pair: str, said: str) -> None:
    with pytest.raises(InputError, match=r"is no pair of this review|is no answer: give"):
        session.answer(pair, said)
    assert not session.journal.answers


def test_a_pair_whose_image_cannot_be_read_says_why_on_its_side_and_can_only_be_skipped(tmp_path: Path) -> None:
    session = begun(tmp_path, broken=("b1",))
    session.answer(PAIRS[0].pair_id, "left")
    assert session.state()["pair"]["errors"] == ["the image is empty (0 bytes)", ""]  # it is turned
    with pytest.raises(InputError, match="can only be skipped"):
        session.answer(PAIRS[1].pair_id, "left")
    session.answer(PAIRS[1].pair_id, "skip")
    assert session.state()["pair"]["id"] == PAIRS[2].pair_id


def test_pairs_that_are_no_longer_in_the_run_are_left_out_and_counted(tmp_path: Path) -> None:
    session = begun(tmp_path, texts={name: text for name, text in TEXTS.items() if name != "p0"})
    assert (session.lost, session.state()["total"], session.left()[0]) == (1, 3, PAIRS[1])
