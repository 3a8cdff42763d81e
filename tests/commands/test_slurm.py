"""The scripts for Slurm: what they say, and on a real Slurm, where there is one, what comes out."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_stages import RECIPE

from benchmarks.support import slurm_cluster
from datagen import recipe as recipes
from datagen.commands import slurm
from datagen.errors import InputError
from datagen.judges import panel

ROOT, SUPPORT = Path(__file__).parents[2], Path(__file__).parents[1] / "support"


def scripts(tmp_path: Path, *settings: str, **asked: Any) -> dict[str, str]:
    """The scripts of a recipe by their names, with the cluster's own limit unknown."""
    folder, made = tmp_path / "jobs", {"recipe": "pick-style", "profile": "sd15", "out": tmp_path / "out"}
    recipe = recipes.load(made["recipe"], list(settings))
    assert slurm.write(recipe, slurm.Asked(**{**made, **asked}), folder) == folder / "submit.sh"
    for path in folder.glob("*.s*"):
        subprocess.run(["bash", "-n", str(path)], check=True)  # a shell can read it
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


@pytest.fixture(autouse=True)
def nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """No cluster how large its arrays are, and no judge whether it asks a server, but by its name."""
    monkeypatch.setattr(slurm, "_most_tasks", lambda: slurm.MOST_TASKS)
    server = types.SimpleNamespace(server=None)
    monkeypatch.setattr(
        panel, "load", lambda choices: [server for choice in choices if choice.name.startswith("endpoint_")]
    )


def test_a_stage_is_an_array_whose_tasks_follow_those_of_the_stage_before(tmp_path: Path) -> None:
    found = scripts(tmp_path, "prompts.count=30", "images.shard_size=8")
    assert sorted(found) == [
        "1-write.sbatch", "2-images.sbatch", "3-embeddings.sbatch", "4-scores.sbatch", "5-verdicts.sbatch",
        "6-finish.sbatch", "submit.sh",
    ]  # fmt: skip
    images, verdicts, finish = found["2-images.sbatch"], found["5-verdicts.sbatch"], found["6-finish.sbatch"]
    assert "#SBATCH --array=0-3\n" in images and "#SBATCH --gres=gpu:1\n" in images
    assert '--stage images --shard "$SLURM_ARRAY_TASK_ID/4" &' in images
    assert 'scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"' in images
    assert "gres" not in verdicts and "--array" not in finish and 'scontrol requeue "$SLURM_JOB_ID"' in finish
    kinds = [
        line.split("--dependency=")[1].split(":")[0] for line in found["submit.sh"].splitlines() if "--dep" in line
    ]
    assert kinds == ['"afterok', '"aftercorr', '"aftercorr', '"aftercorr', '"afterok']


@pytest.mark.parametrize(
    ("asked", "array"),
    [
        ({}, "0-99"),
        ({"tasks": 7}, "0-6"),
        ({"tasks": 1001, "at_once": 12}, "0-1000%12"),
        ({"tasks": 5, "limit": 1}, "0-4"),
    ],
)
def test_arrays_are_as_large_as_asked_and_as_the_cluster_takes(
    tmp_path: Path, asked: dict[str, Any], array: str
) -> None:
    images = scripts(tmp_path, "prompts.count=100000", "images.shard_size=8", **asked)["2-images.sbatch"]
    assert f"#SBATCH --array={array}\n" in images


def test_a_served_or_embedded_model_asks_for_no_gpu(tmp_path: Path) -> None:
    assert "gres" not in "".join(scripts(tmp_path, profile="embedded").values())
    served = scripts(tmp_path / "served", "profiles.sd15.model='endpoint:painter'")
    assert "gres" not in served["2-images.sbatch"] and "gres" in served["4-scores.sbatch"]
    assert "--array=0-0\n" in served["2-images.sbatch"]  # one machine keeps the account
    assert "--array=0-0\n" not in served["4-scores.sbatch"]
    assert '--dependency="aftercorr' in served["submit.sh"] and served["submit.sh"].count("afterok") == 3
    judged = scripts(tmp_path / "judged", "profiles.sd15.judges=['clip', 'endpoint_rating']")
    assert "--array=0-0\n" in judged["4-scores.sbatch"] and "--array=0-0\n" not in judged["5-verdicts.sbatch"]


def test_more_tasks_than_an_array_holds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--tasks 1002 is more than .* holds, 1001 \(MaxArraySize\): give 1001"):
        scripts(tmp_path, tasks=1002)
    assert not (tmp_path / "jobs").exists()


@pytest.mark.parametrize("option", ["partition=gpu", "", "-", "--x\n#SBATCH --y", '--x="y"', "--comment=a%b", "; rm"])
def test_what_would_not_be_an_option_of_sbatch_is_refused(tmp_path: Path, option: str) -> None:
    with pytest.raises(InputError, match="is no option of sbatch|cannot stand in an #SBATCH line"):
        scripts(tmp_path, options=["--partition=gpu", option])


def test_whatever_stands_in_a_command_reaches_the_command_and_no_shell(tmp_path: Path) -> None:
    out, hostile = tmp_path / "a folder; touch gone $(touch gone)", 'name="it\'s $HOME `touch gone`"'
    found = scripts(tmp_path, out=out, settings=[hostile], options=["--account=a lab"])
    assert "#SBATCH --account=a lab\n" in found["1-write.sbatch"]
    (line,) = (line for line in found["1-write.sbatch"].splitlines() if line.endswith(" &"))
    words = [sys.executable, "-c", "import sys; print(sys.argv[1:])"]
    shown = f"{subprocess.list2cmdline(words[:1])} -c 'import sys; print(sys.argv[1:])' {line.split(' -m ')[1][:-2]}"
    told = subprocess.run(["bash", "-c", shown], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert repr(str(out)) in told.stdout and repr(hostile) in told.stdout
    assert not (tmp_path / "gone").exists()


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A Slurm of one node; skips where its programs are missing, or are not this user's to start."""
    if why := slurm_cluster.why_not():
        pytest.skip(why)
    with slurm_cluster.started(tmp_path / "slurm") as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield


# Every Python of the jobs has the stages that need no model.
SITE = """
import importlib
from datagen.pipeline import plan
names = "principles,prompts,images,scores,pairs".split(",")
plan.STAGES = tuple(importlib.import_module(f"fake_stages.{name}").STAGE for name in names)
"""


@pytest.mark.slow  # a cluster, and ten processes that import what they need
@pytest.mark.timeout(600)
def test_on_a_real_slurm_the_dataset_is_that_of_one_process_though_a_task_is_killed(
    cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(SITE)
    (tmp_path / "r.toml").write_text(RECIPE.replace('["fake"]', '["clip"]'))
    switches = tmp_path / "switches"
    switches.mkdir()
    monkeypatch.setenv("FAKE_STAGES_DIR", str(switches))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (tmp_path, SUPPORT, ROOT))))
    monkeypatch.chdir(tmp_path)
    command = [sys.executable, "-m", "datagen"]
    subprocess.run([*command, "run", "r.toml", "--out", "whole", "--workers", "1"], check=True, capture_output=True)
    refused = subprocess.run(
        [*command, "slurm", "r.toml", "--out", "out", "--tasks", "5"], capture_output=True, text=True, check=False
    )
    assert refused.returncode == 2 and "holds, 4 (MaxArraySize)" in refused.stderr
    subprocess.run([*command, "slurm", "r.toml", "--out", "out", "--tasks", "2"], check=True)
    for name in ("die-scores", "once"):
        (switches / name).touch()
    subprocess.run(["bash", "out.slurm/submit.sh"], check=True)
    slurm_cluster.until(lambda: slurm_cluster.told({}, "squeue", "--noheader") == "", 400)
    logs = {path.name: path.read_text() for path in Path("out.slurm/logs").iterdir()}
    assert sum("datagen: back into the queue" in log for log in logs.values()) == 1, logs
    assert len(logs) == 8 and not (switches / "die-scores").exists(), logs  # write, 3 arrays of 2, finish
    whole = {path.name: path.read_bytes() for path in Path("whole/dataset").rglob("*") if path.is_file()}
    assert whole == {path.name: path.read_bytes() for path in Path("out/dataset").rglob("*") if path.is_file()}
