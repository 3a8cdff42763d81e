"""What people answered in another tool becomes what they said of the chosen and the rejected image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.support import judged_run
from datagen import store
from datagen.commands.relabel import relabel
from datagen.errors import InputError
from datagen.labels import answers, people

PLAIN = next(name for name in map(str, range(99)) if not answers.exchanged(name))  # its chosen image is shown first
TURNED = next(name for name in map(str, range(99)) if answers.exchanged(name))


def studio(pair: str, *words: str, who: Any = 7, cancelled: bool = False) -> dict[str, Any]:
    results = [
        {"type": "pairwise", "value": {"selected": word}}
        if word in ("left", "right")
        else {"type": "choices", "value": {"choices": [word]}}
        for word in words
    ]
    made = {"completed_by": who, "was_cancelled": cancelled, "result": results}
    return {"id": 1, "data": {"pair_id": pair, "prompt": "p"}, "annotations": [made] if words or cancelled else []}


def argilla(pair: str, *values: str) -> dict[str, Any]:
    said = [{"value": value, "user_id": f"user-{k}"} for k, value in enumerate(values)]
    return {"id": pair, "fields": {}, "responses": {"better": said} if said else {}, "suggestions": {}}


def written(path: Path, value: Any) -> Path:
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8-sig")
    return path


def test_label_studio_says_left_and_right_of_sides_that_follow_from_the_pair(tmp_path: Path) -> None:
    tasks = [
        studio(PLAIN, "left"),
        studio(TURNED, "left"),
        studio(PLAIN, "right", who={"id": 8, "email": "b@c"}),
        studio(TURNED, "right", "tie"),
        studio(PLAIN, "both bad", who=None),
        studio(TURNED),
        studio(TURNED, cancelled=True),
    ]
    found, unanswered = answers.read(written(tmp_path / "a.json", tasks))
    assert found == {
        "label-studio 7": [(PLAIN, "chosen", None), (TURNED, "rejected", None), (TURNED, "tie", None)],
        "label-studio 8": [(PLAIN, "rejected", None)],
        "label-studio": [(PLAIN, "both bad", None)],
    }
    assert unanswered == 2


def test_the_short_export_of_label_studio_is_read_as_well(tmp_path: Path) -> None:
    tasks = [
        {"pair_id": TURNED, "pw": "right", "annotator": 3, "id": 1},
        {"pair_id": PLAIN, "none": "tie", "pw": None},
    ]
    found, _ = answers.read(written(tmp_path / "a.json", tasks))
    assert found == {"label-studio 3": [(TURNED, "chosen", None)], "label-studio": [(PLAIN, "tie", None)]}


@pytest.mark.parametrize("lines", [False, True])
def test_argilla_says_it_by_image_and_by_person(tmp_path: Path, lines: bool) -> None:
    records = [
        argilla(PLAIN, "image_1", "image_2"),
        argilla(TURNED, "image_1"),
        argilla(TURNED, "both bad"),
        argilla("x"),
    ]
    text = "\n".join(map(json.dumps, records)) if lines else json.dumps(records)
    found, unanswered = answers.read(written(tmp_path / "a.json", text))
    assert found == {
        "argilla user-0": [(PLAIN, "chosen", None), (TURNED, "rejected", None), (TURNED, "both bad", None)],
        "argilla user-1": [(PLAIN, "rejected", None)],
    }
    assert unanswered == 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("team.csv", "pair_id,label,by\na,Chosen,ann\nb,0.5,\n"),
        ("team.tsv", "pair_id\tlabel\tby\na\t1\tann\nb\ttie\t\n"),
        ("team.jsonl", '{"pair_id": "a", "label": "chosen", "by": "ann"}\n{"pair_id": "b", "label": "tie"}\n'),
        ("team.json", '[{"pair_id": "a", "label": 1, "by": "ann"}, {"pair_id": "b", "label": 0.5}]'),
    ],
)
def test_a_table_says_it_in_our_words_and_who_is_not_named_is_called_as_the_file(
    name: str, text: str, tmp_path: Path
) -> None:
    found, _ = answers.read(written(tmp_path / name, text))
    assert found == {"ann": [("a", "chosen", None)], "team": [("b", "tie", None)]}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.json", "", "holds no answer of anybody"),
        ("a.json", "[", "is no JSON"),
        ("a.json", "[1]", "not an object"),
        ("a.json", '[{"x": 1}]', "has x: give a table"),
        ("a.json", json.dumps([studio("")]), "has no data.pair_id"),
        ("a.json", json.dumps([studio(PLAIN)]), "holds no answer of anybody .1 tasks"),
        ("a.json", json.dumps([{"data": {"pair_id": "p"}, "annotations": [1]}]), "not as the tool writes it"),
        ("a.json", json.dumps([{"data": {"pair_id": "p"}, "annotations": [{"result": [3]}]}]), "not as the tool"),
        ("a.json", json.dumps([argilla("p", "image_3")]), "is answered 'image_3'"),
        ("a.json", json.dumps([{"id": 3, "responses": {}}]), "has no id"),
        ("a.csv", "pair_id,label\np,maybe\n", "labelled 'maybe'"),
        ("a.csv", "pair_id,label\n,chosen\n", "no pair is labelled"),
        ("a.csv", "pair,label\np,chosen\n", "has no column 'pair_id'"),
        ("a.csv", "pair_id,label\n", "has no rows"),
    ],
)
def test_what_is_no_answer_is_one_line_that_says_where(name: str, text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said) as found:
        answers.read(written(tmp_path / name, text))
    assert "\n" not in str(found.value)
    with pytest.raises(InputError, match="is no file"):
        answers.read(tmp_path / "nothing.json")


def test_answers_join_the_run_and_those_of_strangers_and_contradictions_are_counted(tmp_path: Path) -> None:
    root = tmp_path / "run"
    judged_run.write(root, judged_run.recipe(20, changes=("labels.min_probability=0",)))
    run = store.Run(root)
    relabel(run, [])
    ids = [name for shard in range(2) for name in run.table("pairs", shard, ["pair_id"])["pair_id"].to_pylist()]
    left = [studio(name, "left") for name in ids[:10]]
    export = written(tmp_path / "export.json", [*left, studio(ids[0], "right"), studio("nobody's", "left")])
    said: list[str] = []
    relabel(run, [], people=export, say=said.append)
    assert "12 answers of 1 people joined the run" in said
    known, notes = people.read(root / people.FILE)
    assert known[ids[1]] == (0.0 if answers.exchanged(ids[1]) else 1.0) and ids[0] not in known
    assert notes == ["labels of people of 1 pairs contradict each other: not used"]
    footer = run.footer("labels", 0)
    assert footer is not None and any(
        "1 of 10 labels of people are of no pair" in note for note in footer.facts["notes"]
    )
    relabel(run, [], people=written(tmp_path / "ann.csv", f"pair_id,label\n{ids[11]},chosen\n"))
    assert len(people.read(root / people.FILE)[0]) == 11  # what others said is kept
