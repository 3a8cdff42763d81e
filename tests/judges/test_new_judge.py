"""A judge with an option is one file: the one in CONTRIBUTING.md, in `datagen judge`, in a run, and gone again."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A folder with the package in it, whose judges are a copy: tests that run beside this one see no new file."""
    for name in ("prompts", "pyproject.toml"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "datagen").mkdir()
    for path in (ROOT / "datagen").iterdir():
        if path.name != "judges":
            (tmp_path / "datagen" / path.name).symlink_to(path)
    shutil.copytree(ROOT / "datagen" / "judges", tmp_path / "datagen" / "judges")
    return tmp_path


def datagen(house: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in the house."""
    environment = {**os.environ, "PYTHONPATH": str(house), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "datagen", *arguments]
    return subprocess.run(command, cwd=house, env=environment, capture_output=True, text=True, timeout=300)


def printed() -> tuple[str, str]:
    """Name and source of the judge that CONTRIBUTING.md shows."""
    section = (ROOT / "CONTRIBUTING.md").read_text().split("## Add a judge: one file")[1].split("\n## ")[0]
    (source,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    (name,) = re.findall(r'name = "(\w+)"', source)
    return name, source


@pytest.mark.slow  # a copy of the project, its tests and its checks
def test_the_judge_of_the_guide_is_one_file(house: Path) -> None:
    name, source = printed()
    file = house / "datagen" / "judges" / f"{name}.py"
    file.write_text(source)
    assert f"{name} " in datagen(house, "list", "judges").stdout

    (house / "d").mkdir()
    Image.new("RGB", (8, 8), (51, 51, 51)).save(house / "d" / "a.png")
    (house / "d" / "a.txt").write_text("a chef")
    judged = datagen(house, "judge", "d", "--judges", name, "--set", f"{name}.target=0.5", "--out", "x.parquet")
    assert judged.returncode == 0, judged.stderr
    (row,) = pq.read_table(house / "x.parquet").to_pylist()
    assert (row["judge"], row["value"], row["error"]) == (name, pytest.approx(-0.3), None)

    recipe = [f"profiles.embedded.judges={{world = {{}}, {name} = {{target = 0.4}}}}", "profiles.embedded.steps=2"]
    recipe += ["labels.min_match=0", "labels.min_probability=0"]  # two steps draw little
    settings = [part for setting in recipe for part in ("--set", setting)]
    command = ["run", "pick-style", "--out", "run", "--profile", "embedded", "--limit", "2", "--workers", "1"]
    run = datagen(house, *command, *settings)
    assert run.returncode == 0, run.stderr
    scores = pq.read_table(house / "run" / "tables" / "scores").to_pylist()
    assert {score["judge"] for score in scores} == {"world", name}
    assert all(score["value"] is not None for score in scores if score["judge"] == name)

    other = ["other" if word == "run" and at else word for at, word in enumerate(command)]
    wrong = datagen(house, *other, *settings, "--set", f"profiles.embedded.judges.{name}.tagret=1")
    assert wrong.returncode == 2
    assert f"the judge {name}: unknown option 'tagret': did you mean 'target'" in wrong.stderr.splitlines()[-1]

    file.write_text(source.replace("    scale = ", "    scales = "))
    third = ["third" if word == "run" and at else word for at, word in enumerate(command)]
    broken = datagen(house, *third, *settings)
    assert broken.returncode == 2
    assert f"the judge {name} is incomplete: it has no scale" in broken.stderr.splitlines()[-1]
    assert not (house / "other").exists() and not (house / "third").exists()

    file.unlink()
    gone = datagen(house, "judge", "d", "--judges", name, "--out", "y.parquet")
    assert gone.returncode == 2 and f"no judge is called '{name}'" in gone.stderr
