"""What all pages have in common: one look, texts of rows that stay texts, and a policy that names the one script."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

THEME = Path(__file__).parent / "theme.css"
LONGEST = 10_000  # characters of a text
CONTROLS = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0)), "�") | {10: "\n", 9: "\t"}
# What turns the direction of the text around it would turn the page's own words.
CONTROLS |= dict.fromkeys((0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)), "")


def style(page: Path) -> Markup:
    """The look of all pages, then a page's own."""
    return Markup("".join(file.read_text(encoding="utf-8-sig") for file in (THEME, page)))


def template(file: Path) -> Any:
    """A template that escapes whatever is put into it."""
    from jinja2 import Environment

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(file.read_text(encoding="utf-8-sig"))


def hashed(text: str) -> str:
    """How a policy names a script or a style that stands in the page."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def data(value: Any) -> Markup:
    """JSON that cannot end the element it stands in, nor be taken for markup."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def clean(text: str) -> str:
    """A text of a row as a page may show it: no control characters, and not endless."""
    kept = text[:LONGEST].translate(CONTROLS).encode("utf-8", "replace").decode()
    return kept if len(text) <= LONGEST else f"{kept}…"


def cleaned(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row whose texts are clean."""
    return {name: clean(value) if isinstance(value, str) else value for name, value in row.items()}
