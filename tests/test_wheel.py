"""The wheel holds what the clone's packages hold and nothing else, and does the whole work where there is no clone."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {"datagen": "datagen", "training": "training", "prompts": "datagen/_prompts"}  # here → in the wheel
LARGEST = 30 * 2**20  # bytes, two thirds of them the embedded world's weights

# What a user of a trained value encoder writes. Both packages must be the wheel's.
USE = """
import sys
from pathlib import Path
import datagen, training
from datagen import world
from diffusers import DiffusionPipeline
from training.inference import ValueGuide

for package in (datagen, training):
    assert Path(package.__file__).is_relative_to(sys.prefix), package.__file__
pipe = DiffusionPipeline.from_pretrained(world.PIPELINE)
guide = ValueGuide(pipe, "livo")
words = guide(["a chef in a park"] * 2, ["smoke considered inappropriate", None])
images = pipe(**words, num_inference_steps=2).images
print(len(images), images[0].size)
"""


@pytest.fixture(scope="module")
def held() -> set[str]:
    """The files that lay in the wheel's folders before it was built: other tests may put one there for a moment."""
    return sources()


def sources() -> set[str]:
    """Every file of the folders that go into the wheel, by its name there, but for what Python leaves behind."""
    files = (path for folder in FOLDERS for path in (ROOT / folder).rglob("*"))
    kept = (path.relative_to(ROOT) for path in files if path.is_file() and "__pycache__" not in path.parts)
    return {Path(FOLDERS[path.parts[0]], *path.parts[1:]).as_posix() for path in kept}


@pytest.fixture(scope="module")
def wheel(held: set[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built by the locked backend."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    [made] = folder.glob("*.whl")
    return made


def test_the_wheel_holds_both_packages_whole_the_prompts_and_nothing_else(held: set[str], wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        beside = {name.partition(".dist-info/")[2] for name in archive.namelist() if ".dist-info/" in name}
    assert held & sources() <= names <= held | sources()
    assert {"training/configs/mapo-sdxl.toml", "training/configs/fsdp.yaml", "datagen/_prompts/prices.toml"} <= names
    assert any(name.startswith("datagen/world/weights/") for name in names)
    assert "licenses/LICENSE" in beside
    assert wheel.stat().st_size < LARGEST


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of a fresh environment with the wheel in it; the libraries are those of the environment of the tests.

    A .pth file lends them, so nothing is downloaded. Python reads no .pth file of a folder that was itself put on the
    path by one, so the editable install that lies among them (a .pth file with the clone's path) does not count.
    """
    home = tmp_path_factory.mktemp("fresh") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    binaries = home / ("Scripts" if os.name == "nt" else "bin")
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(home), "platbase": str(home)}))
    install = ["-m", "pip", "--python", str(binaries / "python"), "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([sys.executable, *install, str(wheel)], check=True)
    lent = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    (packages / "lent.pth").write_text("".join(f"{path}\n" for path in sorted(lent)))
    return binaries


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_all_four_uses_work_in_a_fresh_environment(installed: Path, tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "DATAGEN"))}
    env |= {"DATAGEN_TRAINING_CACHE": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"}
    here = tmp_path / "empty"
    here.mkdir()

    def call(program: str, *arguments: str) -> str:
        line = [str(installed / program), *arguments]
        done = subprocess.run(line, cwd=here, env=env, capture_output=True, text=True)
        assert done.returncode == 0, f"{program} {arguments}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    call("datagen", "run", "livo-toxicity", "--out", "run", "--profile", "embedded", "--limit", "4")
    pairs = sum(pq.read_metadata(path).num_rows for path in (here / "run" / "dataset").rglob("*.parquet"))
    assert pairs
    call("datagen", "judge", "run/dataset", "--judges", "clip,world", "--out", "scores.parquet")
    scores = pq.read_table(here / "scores.parquet").to_pylist()
    assert {row["judge"] for row in scores} == {"clip", "world"} and len(scores) == 4 * pairs
    assert not any(row["error"] for row in scores)
    call("datagen-train", "--data", "run/dataset", "--method", "livo", "--steps", "2", "--batch", "2", "--out", "livo")
    assert (here / "livo" / "value_encoder" / "model.safetensors").is_file()
    assert call("python", "-c", USE).strip() == "2 (64, 64)"
