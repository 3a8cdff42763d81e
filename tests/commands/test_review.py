"""`datagen review`: which pairs of a run are asked, what answers do to its labels, and what is said of bad runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmarks.support import judged_run
from datagen import recipe as recipes
from datagen import store
from datagen.commands import review as reviews
from datagen.commands.relabel import relabel
from datagen.errors import InputError, RunError
from datagen.labels import people
from datagen.pipeline import build
from datagen.review import journal as journals
from datagen.review import lock, server
from datagen.review.outcome import Outcome
from datagen.review.session import Session

PROMPTS = 60


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("run")
    judged_run.write(root, judged_run.recipe(PROMPTS, changes=("labels.min_probability=0.8",)))
    relabel(store.Run(root), [])
    return root


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "run"))


def reviewed(
    root: Path, monkeypatch: pytest.MonkeyPatch, said: list[str], count: int = 40, finish: bool = True
) -> tuple[Outcome | None, list[str], Session]:
    """Have so many pairs answered, in turn as `said`, without a browser."""
    seen: list[Session] = []

    async def serve(self: server.Server, port: int, ready: object) -> Outcome | None:
        session = self._session
        for number, pair in enumerate(session.left()):
            if number < len(said):
                session.answer(pair.pair_id, said[number])
        seen.append(session)
        return self._finish() if finish else None

    monkeypatch.setattr(server.Server, "serve", serve)
    lines: list[str] = []
    outcome = reviews.review(root, count, 0, say=lines.append)
    return outcome, lines, seen[0]


def test_answers_calibrate_the_run_and_what_they_changed_is_told(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = store.Run(run).table("labels", 0)["probability"].to_pylist()
    outcome, lines, session = reviewed(run, monkeypatch, ["left", "right", "tie", "left", "both bad", "skip"] * 6)
    assert lines[0] == "40 of 60 pairs are asked, drawn from the 15 least certain and from the other 45"
    assert outcome is not None and sum(outcome.counts.values()) == 36
    settings = store.Run(run).started()
    recipe, _ = recipes.of_run(settings)
    assert recipe.labels.known == str(run / people.FILE)
    known, _ = people.read(run / people.FILE)
    assert len(known) == 18 and known == {
        name: people.MEANS[said] for name, said in session.journal.answers.items() if said in people.MEANS
    }
    assert store.Run(run).table("labels", 0)["probability"].to_pylist() != before
    finished = build.finished(store.Run(run), settings["digest"], recipe, "embedded")
    assert any("18 known labels" in note for note in finished.learnt["notes"])
    assert outcome.after.promised < outcome.before.promised  # half of the answers were against the labels
    assert outcome.pairs[1] < outcome.pairs[0] and len(outcome.judges) == len(judged_run.JUDGES)
    # Coming back, nothing is asked twice; more can be.
    _, lines, session = reviewed(run, monkeypatch, [], finish=False)
    assert "36 of them are answered" in lines and len(session.left()) == 4
    _, lines, session = reviewed(run, monkeypatch, ["left"] * 99, count=500)
    assert "there are no more, though 500 were wanted" in lines and len(session.pairs) == 60 and not session.left()


def test_labels_of_others_are_kept_when_a_review_joins_them(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = store.Run(run).table("pairs", 0, ["pair_id"])["pair_id"].to_pylist()
    (mine := tmp_path / "mine.csv").write_text(f"pair_id,label\n{rows[0]},rejected\nstranger,chosen\n")
    relabel(store.Run(run), [f'labels.known="{mine}"'])
    reviewed(run, monkeypatch, ["left"] * 4, count=4)
    text = (run / people.FILE).read_text().splitlines()
    assert f"{rows[0]},rejected,mine," in text and len(text) == 7
    notes = store.Run(run).footer("labels", 0).facts["notes"]  # type: ignore[union-attr]
    assert any("1 of" in note and "are of no pair of this run" in note for note in notes)


def test_answers_that_decide_nothing_leave_the_run_as_it_is(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (run / "recipe.json").read_bytes()
    with pytest.raises(InputError, match="nothing to calibrate by"):
        reviewed(run, monkeypatch, ["tie", "skip", "both bad"])
    assert (run / "recipe.json").read_bytes() == before and not (run / people.FILE).exists()
    assert len(journals.Journal(run / journals.FILE).answers) == 3


def test_a_run_in_use_keeps_the_answers_and_says_so(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with store.hold(store.Run(run), store.Run(run).started()), pytest.raises(RunError, match="is in use by process"):
        reviewed(run, monkeypatch, ["left"] * 3)
    outcome, lines, _ = reviewed(run, monkeypatch, [])
    assert "3 of them are answered" in lines and outcome is not None


def test_a_second_page_on_a_run_is_refused_and_names_the_first(run: Path) -> None:
    with lock.hold(run), pytest.raises(RunError, match=r"is being reviewed on another page, by process \d+ on "):
        reviews.review(run, 10, 0)
    with lock.hold(run):
        pass  # it is free again


def test_what_is_no_run_is_not_labelled_or_has_no_pair_is_said(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="not a run directory"):
        reviews.review(tmp_path, 10, 0)
    judged_run.write(tmp_path / "judged", judged_run.recipe(4))
    with pytest.raises(RunError, match="is not labelled yet"):
        reviews.review(tmp_path / "judged", 10, 0)
    root = tmp_path / "alone"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judged_run, "_scores", lambda two, own: [])
        judged_run.write(root, judged_run.recipe(4))
    relabel(store.Run(root), [])
    with pytest.raises(RunError, match="no two images that could be compared"):
        reviews.review(root, 10, 0)
    assert not (root / journals.FILE).exists()


def test_images_of_another_drawing_are_left_out(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reviewed(run, monkeypatch, ["left"] * 2, finish=False)
    path = run / journals.FILE
    first = store.Run(run).table("prompts", 0, ["prompt_id"])["prompt_id"][0].as_py()
    text = path.read_text()
    planned = journals.Journal(path).planned
    gone = next(pair.prompt_id for pair in planned[2:] if pair.prompt_id != first)
    path.write_text(text.replace(gone, "0" * len(gone)))
    _, lines, session = reviewed(run, monkeypatch, [], finish=False)
    assert "1 pairs of the sample are no longer in the run: they are left out" in lines and session.lost == 1
