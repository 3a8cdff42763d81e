"""CSV and TSV, strictly: every row has the cells of the header, or the file is refused with the line that does not.

What a lenient reader would cut or swallow without a word is an InputError: texts with commas that are not quoted, a
quote that is never closed or closed rows later, a header in the middle of the file, two columns of one name.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from datagen.errors import InputError
from datagen.tables import text

NAMES = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}


def rows(path: Path, delimiter: str) -> Iterator[tuple[str, list[str]]]:
    """The header and then the rows, each with its place ("line 3"). Blank lines are no rows.

    A header in one cell that has another delimiter throughout, as spreadsheets of many countries write it, tells that.
    """
    header: list[str] = []
    delimiter = _delimiter(path, delimiter)
    for number, lines, cells in _records(path, delimiter):
        if not header:
            header = _header(path, cells, delimiter)
            yield f"line {number}", header
            continue
        if len(cells) != len(header):
            raise InputError(
                f"{path} line {number} has {len(cells)} cells, its header has {len(header)} "
                f"({', '.join(header)}): put a text with {NAMES[delimiter]} in double quotes"
            )
        if [cell.strip().casefold() for cell in cells] == [name.casefold() for name in header]:
            raise InputError(f"{path} line {number} repeats the header: remove it")
        if _spaced(cells, lines[0], delimiter):
            raise InputError(f"{path} line {number} has a space before a quoted text: remove it")
        if swallowed := _swallowed(cells, lines[1:], delimiter):
            raise InputError(
                f"{path} line {number} has a quoted text that goes on to line {number + len(lines) - 1} over what "
                f"looks like another row ({swallowed[:60]!r}): is a quote not closed?"
            )
        yield f"line {number}", cells


def _records(path: Path, delimiter: str) -> Iterator[tuple[int, list[str], list[str]]]:
    """The number of the first line, the lines and the cells of each record."""
    csv.field_size_limit(text.LONGEST)
    lines: list[str] = []  # of the record that is being read

    def noted() -> Iterator[str]:
        for line in text.lines(path, keep_ends=True):
            lines.append(line.rstrip("\r\n"))
            yield line

    reader = csv.reader(noted(), delimiter=delimiter, strict=True)
    first = 1
    try:
        for cells in reader:
            if cells:
                yield first, lines, cells
            first = reader.line_num + 1
            lines.clear()
    except csv.Error as error:
        what = "a quote that is not closed" if "unexpected end" in str(error) else str(error)
        raise InputError(f"{path} line {first} cannot be read: {what}") from error


def _delimiter(path: Path, delimiter: str) -> str:
    """What stands between the columns: semicolons if the header of a .csv has them between names, and no commas."""
    first = next((line for line in text.lines(path) if line.strip()), "")
    if delimiter == "," and delimiter not in first and len(names := first.split(";")) > 1:
        if all(re.fullmatch(r'\s*"?\w[\w .-]*"?\s*', name) for name in names):
            return ";"
    return delimiter


def _header(path: Path, cells: list[str], delimiter: str) -> list[str]:
    """The names of the columns; several may have none, as the index that pandas writes."""
    names = [cell.strip() for cell in cells]
    if len(names) == 1:
        for other, name in NAMES.items():
            if other != delimiter and other in names[0]:
                hint = "name it .tsv" if other == "\t" else f"save it with {NAMES[delimiter]}"
                raise InputError(f"{path} has {name} between its columns ({names[0]}), not {NAMES[delimiter]}: {hint}")
    for name in names:
        if name and names.count(name) > 1:
            raise InputError(f"{path} has two columns {name!r}: rename or remove one")
    return names


def _spaced(cells: list[str], line: str, delimiter: str) -> bool:
    """Whether a space stands before an opening quote, so that the quotes would be a part of the text."""
    return any(cell.startswith(" ") and cell.lstrip().startswith('"') and delimiter + cell in line for cell in cells)


def _swallowed(cells: list[str], lines: list[str], delimiter: str) -> str | None:
    """A further line of a record that is a row by itself: as many cells, and single words alike in the same places."""
    for line in lines:
        inner = line.split(delimiter)
        if len(inner) == len(cells) > 1 and all(
            _alike(own, other) for own, other in zip(cells, inner, strict=True) if len(own.split()) == 1
        ):
            return line
    return None


def _alike(own: str, other: str) -> bool:
    """Whether both are single words, and both or neither names of files, both or neither numbers."""
    own, other = own.strip(), other.strip(' "')
    return (
        len(other.split()) == 1
        and bool(Path(own).suffix) == bool(Path(other).suffix)
        and own.isdecimal() == other.isdecimal()
    )
