"""docs/llm.md tells of every variable that the code reads, and of no other."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
VARIABLE = re.compile(r"\b(?:DATAGEN|OPENAI)_[A-Z]+(?:_[A-Z]+)*\b")


OURS = {"DATAGEN_LLM", "DATAGEN_IMAGES"}  # how the names begin that environment.py puts together
END = re.compile(r"\{ours\}(_[A-Z]+(?:_[A-Z]+)*)\b")


def variables(folder: Path) -> set[str]:
    texts = [file.read_text(encoding="utf-8") for file in folder.rglob("*.py")]
    made = {f"{start}{end}" for text in texts for end in END.findall(text) for start in OURS}
    return (made | {name for text in texts for name in VARIABLE.findall(text)}) - OURS


def test_the_variables_of_the_docs_are_those_of_the_code() -> None:
    told = set(VARIABLE.findall((ROOT / "docs" / "llm.md").read_text(encoding="utf-8")))
    assert variables(ROOT / "datagen" / "llm") <= told <= variables(ROOT / "datagen")
