"""A loss is one function in one file: what it declares is all that the programs know of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LOSS = '''"""A loss of one's own."""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from annotated_types import Interval

from training.losses.inputs import Errors, Outcome
from training.losses.registry import Need, loss


@loss(Need.REFERENCE, soft=True, embedded={"steps": 7, "slack": 0.25})
def slow_hinge(errors: Errors, *, slack: Annotated[float, Interval(ge=0, lt=1)] = 0.5) -> Outcome:
    """Hinge on the margin. L = max(0, slack - h)."""
    margin = errors.margin()
    return Outcome(F.relu(slack - margin), margin)
'''


def run(tree: Path, *line: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "training/run.py", "--method", "slow_hinge", *line]
    return subprocess.run(
        command, cwd=tree, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_a_new_file_is_a_new_loss_with_flags_bounds_and_defaults(
    sd15_folder: Path, dataset: Path, tmp_path: Path
) -> None:
    shutil.copytree(ROOT / "training", tmp_path / "training", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "training" / "losses" / "of_ones_own.py").write_text(LOSS)
    out = tmp_path / "out"
    line = ["--data", str(dataset), "--model", str(sd15_folder), "--out", str(out), "--steps", "2", "--batch", "2"]
    refused = run(tmp_path, *line, "--slack", "1")
    assert refused.returncode == 2 and refused.stderr == "error: --slack is '1': it should be less than 1\n"
    done = run(tmp_path, *line)
    assert done.returncode == 0, done.stderr
    held = json.loads((out / "training.json").read_text())
    assert held["run"]["method"] == "slow_hinge" and held["run"]["part"] == "unet" and held["loss"] == {"slack": 0.5}
    (tmp_path / "training" / "losses" / "of_ones_own.py").unlink()
    assert "no loss is called 'slow_hinge'" in run(tmp_path, *line).stderr


def test_reading_the_declarations_imports_no_torch() -> None:
    code = "import sys, training.losses; assert len(training.losses.LOSSES) > 15 and 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
