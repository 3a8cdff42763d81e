from pathlib import Path

import pytest

from datagen.errors import InputError
from datagen.labels import people


def table(folder: Path, text: str, name: str = "known.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_labels_of_people_are_read_however_they_are_called(tmp_path: Path) -> None:
    known, notes = people.read(
        table(tmp_path, "pair_id,label,who\na,chosen,x\nb,rejected,x\nc,1,y\nd,0,y\ne, Chosen ,z\n")
    )
    assert known == {"a": 1.0, "b": 0.0, "c": 1.0, "d": 0.0, "e": 1.0} and notes == []
    lines = '{"pair_id": "a", "label": 1}\n{"pair_id": "b", "label": "rejected"}\n'
    assert people.read(table(tmp_path, lines, "known.jsonl")) == ({"a": 1.0, "b": 0.0}, [])


def test_ties_and_contradictions_are_left_out_and_counted(tmp_path: Path) -> None:
    text = "pair_id,label\na,chosen\na,rejected\nb,tie\nc,chosen\nc,tie\nd,chosen\nd,chosen\n"
    known, notes = people.read(table(tmp_path, text))
    assert known == {"c": 1.0, "d": 1.0}
    assert notes == [
        "labels of people of 1 pairs contradict each other: not used",
        "labels of people of 1 pairs are ties: not used",
    ]


@pytest.mark.parametrize(
    ("rows", "known", "notes"),
    [
        ("a,chosen,\na,chosen,\na,rejected,", {"a": 1.0}, ["more weight"]),
        ("a,chosen,1\na,rejected,2.5", {"a": 0.0}, ["more weight"]),
        ("a,chosen,0.1\na,chosen,0.2\na,rejected,0.3", {}, ["contradict each other: not used"]),
        ("a,chosen,1\na,tie,5", {"a": 1.0}, []),
        ("a,chosen,high\na,rejected,-2\nb,chosen,nan", {"b": 1.0}, ["not used", "with 3 weights"]),
        ("a,chosen,0\nb,rejected,inf", {"a": 1.0, "b": 0.0}, ["with 2 weights"]),
        ("a,rejected, 2 \na,chosen, ", {}, ["not used"]),
        ("a,rejected, 2 \na,chosen, \na,chosen,3", {"a": 1.0}, ["more weight"]),
    ],
)
def test_of_people_who_contradict_each_other_the_side_of_more_weight_counts(
    tmp_path: Path, rows: str, known: dict[str, float], notes: list[str]
) -> None:
    found, said = people.read(table(tmp_path, f"pair_id,label,weight\n{rows}\n"))
    assert found == known and len(said) == len(notes)
    assert all(part in line for part, line in zip(notes, said, strict=True))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pair_id,label\na,better\n", "line 2: a is labelled 'better': give a pair_id and chosen, rejected or tie"),
        ("pair_id,label\n,chosen\n", "line 2: no pair is labelled 'chosen'"),
        ("pair,label\na,chosen\n", "no column 'pair_id'"),
        ("pair_id,verdict\na,chosen\n", "no column 'label'"),
    ],
)
def test_another_table_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        people.read(table(tmp_path, text))
    with pytest.raises(InputError, match="which is no file"):
        people.read(tmp_path / "nothing.csv")


def test_a_run_keeps_what_all_people_said_in_one_file_and_each_one_replaces_their_own_alone(tmp_path: Path) -> None:
    path = people.join(tmp_path, "review", [("a", "chosen", 2.5), ("b", "both bad", None)])
    people.join(tmp_path, "label studio", [("a", "rejected", None), ("c", "rejected", 1)])
    people.join(tmp_path, "review", [("d", "tie", 4), ("a", "chosen", 3)])
    assert path == tmp_path / people.FILE
    known, notes = people.read(path)
    assert known == {"c": 0.0} and people.weights(path) == {"a": 3.0, "c": 1.0, "d": 4.0}
    assert notes == [
        "labels of people of 1 pairs contradict each other: not used",
        "labels of people of 1 pairs are ties: not used",
    ]


def test_a_file_that_the_run_was_given_before_is_taken_over_once(tmp_path: Path) -> None:
    given = table(tmp_path, "pair_id,label\na,1\nb,0.5\n", "mine.csv")
    for _ in range(2):
        path = people.join(tmp_path, "review", [("c", "rejected", 2)], str(given))
    assert path.read_text() == "pair_id,label,by,weight\na,chosen,mine,\nb,tie,mine,\nc,rejected,review,2\n"
    assert people.join(tmp_path, "review", [("c", "chosen", 2)], str(path)) == path
    assert people.read(path)[0] == {"a": 1.0, "c": 1.0}


def test_a_file_that_is_broken_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / people.FILE).write_text("pair_id,label\na,perhaps\n")
    with pytest.raises(InputError, match="a is labelled 'perhaps'"):
        people.join(tmp_path, "review", [("b", "chosen", 1)])
    with pytest.raises(InputError, match="which is no file"):
        people.join(tmp_path / "else", "review", [("b", "chosen", 1)], str(tmp_path / "gone.csv"))
    assert (tmp_path / people.FILE).read_text() == "pair_id,label\na,perhaps\n"


@pytest.mark.parametrize("weight", ["", "nan", "-1", "0", "inf", "many"])
def test_a_weight_that_says_nothing_is_none(tmp_path: Path, weight: str) -> None:
    assert people.weights(table(tmp_path, f"pair_id,label,weight\na,1,{weight}\n")) == {}
