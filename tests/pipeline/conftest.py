"""What the pipeline's tests share: stages that need no model, in the place of the real ones."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from fake_stages import NAMES

from datagen.pipeline import plan

SUPPORT = Path(__file__).parents[1] / "support"


@pytest.fixture
def switches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the fake stages in place; the folder whose files tell them to misbehave, with the log of their calls."""
    folder = tmp_path / "switches"
    folder.mkdir()
    monkeypatch.setenv("FAKE_STAGES_DIR", str(folder))
    monkeypatch.syspath_prepend(str(SUPPORT))
    stages = tuple(importlib.import_module(f"fake_stages.{name}").STAGE for name in NAMES)
    monkeypatch.setattr(plan, "STAGES", stages)
    return folder
