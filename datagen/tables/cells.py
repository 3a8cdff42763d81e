"""What a cell of a table holds, whichever format it comes from: a text, an image, or neither and why."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from typing import Any

from datagen.tables.text import BOM

INVISIBLE = ("Cc", "Cf", "Zs", "Zl", "Zp")  # Unicode's categories of signs that show nothing
# What pandas, Python, SQL and MySQL write where there is nothing; a text that says "none" may be meant.
NOTHING = ("nan", "NaN", "<NA>", "None", "null", "NULL", "\\N")


class Unusable(Exception):
    """Why a cell cannot be used, in one line."""


def text_of(cell: Any) -> str:
    """The text of a cell without spaces around it; Unusable for what is empty, or no text though `str` makes one."""
    if cell is None:
        raise Unusable("the cell is empty")
    if not isinstance(cell, str):
        raise Unusable(f"the cell holds {kind_of(cell)}, not text")
    text = cell.strip().strip(BOM).strip()
    if all(unicodedata.category(sign) in INVISIBLE for sign in text):
        raise Unusable("the cell is empty")
    if text in NOTHING:
        raise Unusable(f"the cell holds {text!r}, which stands for nothing, not text")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Unusable("the text holds half of a character (a lone surrogate)") from error
    return text


def image_of(cell: Any) -> bytes:
    """The encoded image of a cell: bytes, or a struct with `bytes`; Unusable if there are none."""
    encoded = cell.get("bytes") if isinstance(cell, Mapping) else cell
    if isinstance(encoded, bytes) and encoded:
        return encoded
    if encoded is not None and not isinstance(encoded, bytes):
        raise Unusable(f"the cell holds {kind_of(encoded)}, not image bytes")
    path = cell.get("path") if isinstance(cell, Mapping) else None
    raise Unusable(f"the cell has no bytes, only the path {path!r}" if path else "the cell has no bytes")


def file_of(cell: Any) -> str | None:
    """The name of the file that an image's cell stands for: a text, or a struct with `path` and no bytes."""
    if isinstance(cell, Mapping):
        cell = None if cell.get("bytes") else cell.get("path")
    return cell if isinstance(cell, str) and cell.strip() else None


def is_address(name: str) -> bool:
    """Whether a name is an address on the web or in a store, of which nothing is downloaded."""
    return "://" in name and not name.lstrip().lower().startswith("file://")


def kind_of(cell: Any) -> str:
    """What a cell is, in words."""
    if isinstance(cell, bool):
        return "true or false"
    if isinstance(cell, float) and math.isnan(cell):
        return "NaN"
    if isinstance(cell, int | float):
        return "a number"
    kinds = ((bytes, "bytes"), (Mapping, "a struct"), (list | tuple, "a list"), (str, "text"), (type(None), "nothing"))
    return next((name for kind, name in kinds if isinstance(cell, kind)), f"a {type(cell).__name__}")
