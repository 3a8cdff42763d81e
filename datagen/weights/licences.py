"""What a model's licence forbids of its pictures, as far as its name or its card says so."""

from __future__ import annotations

import re
from pathlib import Path

# In the names that licences have on the hub: cc-by-nc-4.0, sai-nc-community, flux-1-dev-non-commercial-license, …
_NOT_COMMERCIAL = re.compile(r"(^|[-_ .])(nc|non-?commercial|research(-only)?|academic)([-_ .]|$)", re.IGNORECASE)
_LIMITED = re.compile(r"^stabilityai-ai-community$", re.IGNORECASE)


def of_card(folder: Path) -> str:
    """The licence that the README.md of a folder names, "" if it names none that can be read."""
    path = folder / "README.md"
    if not path.is_file():
        return ""
    from huggingface_hub import metadata_load

    try:
        found = metadata_load(path) or {}
    except Exception:  # a card that is no YAML says nothing
        return ""
    named = found.get("license_name") if found.get("license") == "other" else found.get("license")
    return str(named or "")


def note(licence: str) -> tuple[str, ...]:
    """A line on a licence that does not leave everyone free to use the pictures, else nothing."""
    if _NOT_COMMERCIAL.search(licence):
        return (f"the model's licence, {licence}, forbids commercial use: of a dataset drawn with it as well",)
    if _LIMITED.search(licence):
        return (f"the model's licence, {licence}, is free for small companies only: read it before you publish",)
    return ()
