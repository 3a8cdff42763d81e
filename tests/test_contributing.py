"""The guide's examples as it prints them: written into a copy of the project, run, and gone again."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).parents[1]
LIMITED = ("--limit", "4", "--set", "profiles.embedded.steps=2", "--set", "labels.min_probability=0")


def printed(heading: str, language: str = "python") -> str:
    """The one example of a section."""
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = guide.split(f"\n## {heading}")[1].split("\n## ")[0]
    (source,) = re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)
    return str(source)


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy of the project without its history; what is large is a link."""
    for name in ("datagen", "training", "prompts"):
        shutil.copytree(
            ROOT / name,
            tmp_path / name,
            ignore=shutil.ignore_patterns("__pycache__"),
            copy_function=lambda source, target: (
                os.symlink(source, target) if source.endswith(".safetensors") else shutil.copy2(source, target)
            ),
        )
    return tmp_path


def call(house: Path, *line: str, code: int = 0) -> str:
    """What a command of the copy says; it must end with `code`."""
    environment = {**os.environ, "PYTHONPATH": str(house), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, *line], cwd=house, env=environment, capture_output=True, text=True)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_recipe_stage_executor_export_and_loss_are_as_many_files_as_the_guide_says(house: Path) -> None:
    files = {
        house / "prompts/recipes/line-art.toml": printed("Add a recipe", "toml"),
        house / "datagen/stages/brightness.py": printed("Add a stage"),
        house / "datagen/executors/threads.py": printed("Add an executor"),
        house / "datagen/export/texts.py": printed("Add an export"),
        house / "training/losses/of_ones_own.py": printed("Add a loss"),
    }
    for path, source in files.items():
        assert not path.exists()
        path.write_text(source)
    entries = house / "datagen/pipeline/plan.py"
    before = entries.read_text()
    entries.write_text(
        before.replace("import Context, Stage, embeddings", "import Context, Stage, brightness, embeddings").replace(
            "    images.STAGE,\n", "    images.STAGE,\n    brightness.STAGE,\n"
        )
    )
    assert entries.read_text().count("brightness") == 2

    said = call(house, "-m", "datagen", "run", "line-art", "--out", "run", "--executor", "threads", *LIMITED)
    assert "4 prompts, 8 images" in said
    rows = pq.read_table(house / "run/tables/brightness").to_pylist()
    assert len(rows) == 8 and all(row["error"] is None and 0 <= row["value"] <= 1 for row in rows)
    assert "nothing to do" in call(
        house, "-m", "datagen", "run", "line-art", "--out", "run", "--executor", "threads", *LIMITED
    )
    assert "brightness" in call(house, "-m", "datagen", "status", "run")

    assert "texts export" in call(house, "-m", "datagen", "export", "run", "--format", "texts", "--out", "texts")
    lines = [json.loads(line) for line in (house / "texts/pairs.jsonl").read_text().splitlines()]
    published = pq.read_table(house / "run/dataset/data").to_pylist()
    assert sorted(line["prompt"] for line in lines) == sorted(row["prompt"] for row in published)

    train = ("training/run.py", "--data", "run/dataset", "--method", "difference", "--out", "out", "--steps", "2")
    call(house, *train, "--batch", "2", "--weight", "0.2")
    held = json.loads((house / "out/training.json").read_text())
    assert held["loss"] == {"weight": 0.2} and held["optimizer"]["lr"] == 1e-4

    for path in files:
        path.unlink()
    entries.write_text(before)
    unknown = {
        ("run", "line-art", "--out", "other"): "no recipe is called 'line-art'",
        ("run", "pick-style", "--out", "other", "--executor", "threads"): "no executor is called 'threads'",
        ("export", "run", "--format", "texts", "--out", "other"): "no export format is called 'texts'",
    }
    for line, reason in unknown.items():
        assert reason in call(house, "-m", "datagen", *line, code=2)
    assert "difference" in call(house, *train, code=2)
    assert not (house / "other").exists()
