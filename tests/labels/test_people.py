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
