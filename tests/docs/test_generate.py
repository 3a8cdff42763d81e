"""The tables of the docs are what the code says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_generated_blocks_are_those_of_the_code() -> None:
    line = [sys.executable, "docs/generate.py", "--check"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for page in ("training-run", "training-evaluation", "training-inference"):
        assert "<!-- generated: options of training/" in (ROOT / "docs" / f"{page}.md").read_text()
