"""Which image of a pair is known to be the better one: by a column of the input, or by a file that names pairs.

What cannot be used is counted before anything is judged, and said: labels of pairs that are not there, that contradict
each other, or that are none.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from datagen.errors import InputError, nearest
from datagen.tables import cells, layouts, rows
from datagen.tables.items import Input, Item
from datagen.tables.layouts import Layout

PAIR = "pair"  # a column of a file of labels that names pairs as the scores' paths do, up to the last "/"
NAMES = ("label", "probability")  # of the column with labels, where there are several
Key = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Labels:
    """How likely the first image of a pair is the better one: in `by` under the ids of `keys`, else as items say."""

    keys: tuple[str, ...] = ()
    by: Mapping[Key, float] = dataclasses.field(default_factory=dict)

    def of(self, item: Item) -> float | None:
        """Of the pair whose first image this is; None where it is not known."""
        return self.by.get(self.key(item)) if self.keys else item.label

    def key(self, item: Item) -> Key:
        """What names the pair in the file of labels."""
        return tuple(_name(item.path) if name == PAIR else item.ids.get(name, "") for name in self.keys)


def _name(path: str) -> str:
    """A pair's name from the path of one of its images."""
    return path.rpartition("/")[0]


def is_file(given: str) -> bool:
    """Whether `--labels` names a table rather than a column."""
    return Path(given).suffix.lower() in rows.SUFFIXES


def read(asked: str, given: Input, say: Callable[[str], None]) -> Labels:
    """The labels of `--labels`; InputError where they say of no pair which image is the better one."""
    if given.layout is None or given.outline is None:
        raise InputError(f"--labels says which image of a pair is the better one, and {given.files[0]} has no pairs")
    labels, notes = _of_file(Path(asked), given, given.layout, given.outline) if is_file(asked) else (Labels(), [])
    found, used, faults = Counter[str](), Counter[Key](), list[str]()
    for item in given.outline():
        label = labels.of(item)
        if labels.keys and label is not None:
            used[labels.key(item)] += 1
        if item.error and not labels.keys:
            faults.append(item.error)
        found["unknown" if label is None else "ties" if label == 0.5 else "first" if label > 0.5 else "second"] += 1
    total = sum(found.values())
    if not found["first"] + found["second"]:
        raise InputError(f"{asked} labels none of {total} pairs: {_why_none(labels, used, faults, given.outline)}")
    first, second = given.layout.images
    ties = f", ties {found['ties']}" if found["ties"] else ""
    unknown = f", without a label {found['unknown']}" if found["unknown"] else ""
    better = f"{first} is better in {found['first']}, {second} in {found['second']}"
    say(f"labels: of {total} pairs {better}{ties}{unknown}")
    for note in [*notes, *_odd(found, used, labels, faults)]:
        say(f"labels: {note}")
    return labels


def _why_none(labels: Labels, used: Counter[Key], faults: list[str], outline: Callable[[], Iterator[Item]]) -> str:
    if labels.keys and not used:
        given, own = "/".join(next(iter(labels.by))), "/".join(labels.key(next(outline())))
        return f"it names such as {given!r} by {'/'.join(labels.keys)}, and the input has such as {own!r}"
    return faults[0] if faults else "none says which image is the better one"


def _odd(found: Counter[str], used: Counter[Key], labels: Labels, faults: list[str]) -> list[str]:
    """What is to be known of labels besides their number."""
    notes = []
    if faults:
        notes.append(f"{len(faults)} are not read, such as: {faults[0]}")
    if unknown := [key for key in labels.by if key not in used]:
        notes.append(f"{len(unknown)} are of pairs that are not in the input, such as {'/'.join(unknown[0])}")
    if several := [key for key, count in used.items() if count > 1]:
        notes.append(f"{len(several)} name several pairs, such as {'/'.join(several[0])}: each of them has that label")
    if not (found["first"] and found["second"]):
        notes.append(
            "all name the same image of a pair: a judge that likes its place would look as good as one that sees"
        )
    return notes


def _of_file(
    path: Path, given: Input, layout: Layout, outline: Callable[[], Iterator[Item]]
) -> tuple[Labels, list[str]]:
    """The labels of a file, and what of it cannot be used."""
    table = rows.read(path)
    keys = tuple(name for name in table.columns if name in given.ids) or tuple({PAIR} & set(table.columns))
    if not keys:
        raise InputError(
            f"{path} has no column that names pairs: {nearest('', table.columns)}; the input's are "
            f"{', '.join([*given.ids, PAIR])}, the last as in {_name(next(outline()).path)}"
        )
    column = _column(path, [name for name in table.columns if name not in keys], layout)
    by: dict[Key, float] = {}
    contradicted, faults = set[Key](), list[str]()
    for row in table.rows():
        key = tuple(str(row.values[name] if row.values[name] is not None else "").strip() for name in keys)
        try:
            label = layouts.by_column(layout, column, row.values)
        except cells.Unusable as error:
            faults.append(f"{row.place}: {error}")
            continue
        if label is not None and by.setdefault(key, label) != label:
            contradicted.add(key)
    for key in contradicted:
        del by[key]
    notes = [f"{len(faults)} of {path.name} are not read, such as {faults[0]}"] if faults else []
    if contradicted:
        example = "/".join(min(contradicted))
        notes.append(f"{len(contradicted)} pairs of {path.name} have two labels and are left out, such as {example}")
    if not by:
        raise InputError(f"{path} labels no pair{': ' + notes[0] if notes else ''}")
    return Labels(keys, by), notes


def _column(path: Path, names: list[str], layout: Layout) -> str:
    """The column of labels of a file."""
    paired = layout.label(names.__contains__)
    known = [name for name in NAMES if name in names][:1] or ([paired[0]] if paired else names)
    if len(known) != 1:
        hint = nearest(NAMES[0], names) if names else "it has no other"
        raise InputError(f"{path} has no column {NAMES[0]!r} with labels; {hint}")
    return known[0]
