"""What people answered in another tool: the exports of Label Studio and Argilla, or a table of ours.

Both tools were shown two images in an order that follows from the id of the pair, so that an answer about the first
image is one about the chosen or the rejected one.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datagen.errors import InputError
from datagen.labels.people import BAD, BY, CHOSEN, LABEL, PAIR, REJECTED, TIE, WORDS
from datagen.tables import json_lines, rows
from datagen.tables import text as texts

Answer = tuple[str, str, None]  # pair, label, and how many pairs it stands for, which nobody says
FIRST, SECOND = {"left", "image_1", "image_a"}, {"right", "image_2", "image_b"}
EITHER = {TIE: TIE, BAD: BAD, "both_bad": BAD, "both_good": TIE}
ACCEPTED = (
    f"give a table with the columns {PAIR} and {LABEL}, Label Studio's export as JSON or JSON-MIN, or the records of "
    "Argilla's to_json"
)


def exchanged(pair_id: str) -> bool:
    """Whether a pair is shown with its rejected image first, so that the place of an image tells nothing."""
    return hashlib.sha256(f"sides {pair_id}".encode()).digest()[0] % 2 == 1


def read(path: Path) -> tuple[dict[str, list[Answer]], int]:
    """Who said it → answers; and how many tasks nobody answered.

    InputError for a file that is none of these, for a word that is no answer, and where nobody answered anything.
    """
    found, open_ = defaultdict[str, list[Answer]](list), 0
    for who, pair, label in _all(path):
        if label is None:
            open_ += 1
        else:
            found[who].append((pair, label, None))
    if not found:
        raise InputError(f"{path} holds no answer of anybody ({open_} tasks without one)")
    return dict(found), open_


def _all(path: Path) -> Iterator[tuple[str, str, str | None]]:
    """Who, which pair, and what; None of a task that nobody answered."""
    if not path.is_file():
        raise InputError(f"{path} is no file: {ACCEPTED}")
    if path.suffix.lower() in (".csv", ".tsv", ".parquet", ".arrow"):
        yield from _of_table(path)
        return
    for place, entry in _entries(path):
        try:
            yield from _of_entry(path, place, entry)
        except (AttributeError, TypeError) as error:  # something deep within is of another kind
            raise InputError(f"{path}, {place}: not as the tool writes it ({error}): {ACCEPTED}") from error


def _of_entry(path: Path, place: str, entry: Any) -> Iterator[tuple[str, str, str | None]]:
    if not isinstance(entry, dict):
        raise InputError(f"{path}, {place}: not an object: {ACCEPTED}")
    if "annotations" in entry or "pw" in entry or "data" in entry:
        yield from _of_label_studio(path, place, entry)
    elif "responses" in entry:
        yield from _of_argilla(path, place, entry)
    elif PAIR in entry and LABEL in entry:
        yield str(entry.get(BY) or path.stem), str(entry[PAIR]), _word(path, place, entry[LABEL], entry[PAIR])
    else:
        raise InputError(f"{path}, {place}: has {', '.join(map(str, entry)) or 'no keys'}: {ACCEPTED}")


def _entries(path: Path) -> Iterator[tuple[str, Any]]:
    """The objects of a JSON array or of JSON Lines."""
    text = texts.read(path)
    if not text.lstrip().startswith("["):
        yield from json_lines.values(path)
        return
    try:
        values = json_lines.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no JSON ({error}): {ACCEPTED}") from error
    yield from ((f"entry {number}", value) for number, value in enumerate(values, 1))


def _of_table(path: Path) -> Iterator[tuple[str, str, str]]:
    table = rows.read(path)
    for column in (PAIR, LABEL):
        table.check(column)
    for row in table.rows():
        pair = str(row.values[PAIR] or "").strip()
        yield str(row.values.get(BY) or path.stem), pair, _word(path, row.place, row.values[LABEL], pair)


def _word(path: Path, place: str, said: object, pair: object) -> str:
    """What a table says of a pair, in our words."""
    label = WORDS.get(str(said).strip().lower())
    if label is None or not str(pair or "").strip():
        raise InputError(f"{path}, {place}: {pair or 'no pair'} is labelled {said!r}: {', '.join(_OURS)} are accepted")
    return label


_OURS = (CHOSEN, REJECTED, TIE, BAD)


def _of_label_studio(path: Path, place: str, task: dict[str, Any]) -> Iterator[tuple[str, str, str | None]]:
    """A task of either export; one that was skipped or cancelled is not answered."""
    data = task.get("data", task)
    pair = data.get(PAIR) if isinstance(data, dict) else None
    if not isinstance(pair, str) or not pair:
        raise InputError(f"{path}, {place}: has no data.{PAIR}: was it made by datagen export --format label_studio?")
    if "annotations" not in task:  # JSON-MIN
        answers = [(task.get("annotator", ""), [task.get("none"), task.get("pw")])]
    else:
        answers = [
            (_name(one.get("completed_by")), [_selected(result) for result in one.get("result") or []])
            for one in task["annotations"] or []
            if not one.get("was_cancelled")
        ]
    heard = False
    for who, words in answers:
        said = [word for word in words if word is not None]
        if said:
            heard = True
            # A tie that is said in words goes before the side that the judges had filled in.
            label = next((EITHER[str(word)] for word in said if str(word) in EITHER), None)
            yield _who("label-studio", who), pair, label or _side(path, place, said[-1], pair)
    if not heard:
        yield "", pair, None


def _selected(result: dict[str, Any]) -> Any:
    value = result.get("value") or {}
    return value.get("selected") or next(iter(value.get("choices") or []), None)


def _of_argilla(path: Path, place: str, record: dict[str, Any]) -> Iterator[tuple[str, str, str | None]]:
    pair, responses = record.get("id"), record.get("responses") or {}
    if not isinstance(pair, str) or not pair:
        raise InputError(f"{path}, {place}: has no id: was it made by datagen export --format argilla?")
    said = [one for answers in responses.values() for one in answers or [] if one.get("value") is not None]
    for one in said:
        yield _who("argilla", str(one.get("user_id") or "")), pair, _side(path, place, one["value"], pair)
    if not said:
        yield "", pair, None


def _name(who: Any) -> str:
    """A person as Label Studio has it: a number, or what is known of them."""
    return str(who.get("id", who.get("email", ""))) if isinstance(who, dict) else str(who or "")


def _who(tool: str, name: object) -> str:
    return f"{tool} {name}" if name else tool


def _side(path: Path, place: str, said: object, pair: str) -> str:
    word = str(said)
    if word in EITHER:
        return EITHER[word]
    if word not in FIRST | SECOND:
        raise InputError(f"{path}, {place}: {pair} is answered {word!r}: left, right, image_1, image_2 are known")
    return CHOSEN if (word in FIRST) is not exchanged(pair) else REJECTED
