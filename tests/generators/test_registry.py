"""A generator is one file: there by its presence in the folder, or by a dotted name from elsewhere."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from datagen import generators, store
from datagen.errors import ModelError
from datagen.models import Missing
from datagen.recipe import Profile, Recipe
from datagen.records import Image, Prompt, seed_for
from datagen.stages import Context, Shard, images

ROOT = Path(__file__).parents[2]
RECIPE = """
name = "flat"
license = "cc0-1.0"
pairing = "contrast"
[prompts]
count = 4
test_share = 0.0
[profiles.colours]
model = "MODEL"
taxonomy = "world-styles"
principles = ["pixel-art"]
grammar = "world-styles"
steps = 1
guidance = 1.0
width = 64
height = 64
judges = ["world"]
"""


def flat() -> str:
    """The generator that CONTRIBUTING.md prints."""
    section = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Add a generator")[2]
    found = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert found
    return found[1]


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of the user's on the import path."""
    package = tmp_path / "mine"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("mine", "mine.flat"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return package


@pytest.mark.slow  # a copy of the package and a run with it
def test_a_file_in_the_folder_is_a_generator_and_serves_a_run(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    shutil.copytree(ROOT / "datagen", clone / "datagen", ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"))
    shutil.copytree(ROOT / "prompts", clone / "prompts")
    file = clone / "datagen" / "generators" / "flat.py"
    (tmp_path / "flat.toml").write_text(RECIPE.replace("MODEL", "flat:"))

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "datagen", *arguments],
            cwd=clone, env={**os.environ, "PYTHONPATH": str(clone)}, capture_output=True, text=True,
        )  # fmt: skip

    line = ("run", str(tmp_path / "flat.toml"), "--out", str(tmp_path / "run"))
    before = call(*line)
    assert before.returncode == 2
    assert re.search("no generator is called 'flat'; known: .*stable_diffusion", before.stderr)
    file.write_text(flat())
    assert "flat              A flat colour for each text" in call("list", "generators").stdout
    done = call(*line)
    assert done.returncode == 0, done.stderr
    assert "profile colours: it needs no GPU" in done.stderr
    rows = store.Run(tmp_path / "run").rows("images", 0, Image)
    assert len(rows) == 8 and {(row.generator, row.generator_revision, row.error) for row in rows} == {
        ("flat", "1", None)
    }


def test_a_module_from_elsewhere_is_a_generator(mine: Path) -> None:
    (mine / "flat.py").write_text(flat())
    profile = Profile(
        model="mine.flat:any", taxonomy="t", grammar="g", steps=1, guidance=1.0, width=64, height=32, judges=("world",)
    )
    recipe = Recipe(name="r", license="l", pairing="contrast", same_seed=False, profiles={"any.name": profile})
    prompt = Prompt("p", "pixel", "style", "a chef", "a chef, big", "a chef, small", "", "", "c", "train", "t")
    rows = images.run(Context(recipe, profile), Shard({Prompt: [prompt]})).rows
    assert [row.side for row in rows] == ["chosen", "rejected"]
    assert [row.seed for row in rows] == [seed_for(0, "p", k) for k in (0, 1)]
    assert rows[0].image != rows[1].image and (rows[0].width, rows[0].height) == (64, 32)
    assert rows[0].generator == "flat"
    needs = generators.needs(profile.model)
    assert generators.missing(profile.model) is None and needs is not None and needs.gpu_gib == 0


def test_the_colon_chooses_the_file_and_nothing_else_does(sd15_folder: Path) -> None:
    assert generators.missing("embedded") is None
    assert generators.missing("stable_diffusion:embedded") is None
    assert generators.missing(f"stable_diffusion:{sd15_folder}") is None
    assert generators.missing("owner/name") == Missing("not in the Hugging Face cache", downloadable=True)


@pytest.mark.parametrize("name", ["stable_difusion", "no.such.module", "protocol", "mine.flat."])
def test_an_unknown_generator_is_one_line(name: str) -> None:
    with pytest.raises(ModelError, match=f"no generator is called '{name}'; .*stable_diffusion") as caught:
        generators.needs(f"{name}:x")
    assert generators.missing(f"{name}:x") == Missing(str(caught.value))
    assert "\n" not in str(caught.value)


def test_a_file_that_lacks_a_function_is_refused(mine: Path) -> None:
    (mine / "flat.py").write_text(flat().replace("def needs(", "def wants("))
    with pytest.raises(
        ModelError, match=r"the generator mine.flat defines no needs\(\): a generator has load, missing"
    ):
        generators.needs("mine.flat:")
