"""Credits stand in one place: whatever paper the code or the prompts name is in docs/credits.md."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_paper_that_is_named_is_credited() -> None:
    files = [p for folder in ("datagen", "training", "prompts") for p in (ROOT / folder).rglob("*")]
    texts = [p.read_text(encoding="utf-8") for p in files if p.suffix in {".py", ".toml", ".md"}]
    named = {number for text in texts for number in re.findall(r"arXiv[ :](\d{4}\.\d{4,5})", text)}
    credited = (ROOT / "docs" / "credits.md").read_text(encoding="utf-8")
    assert named and not {number for number in named if number not in credited}
