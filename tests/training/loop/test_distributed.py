"""Several processes are one with the same batch; weights spread over them by FSDP train and come back whole."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from training.data import load
from training.errors import TrainingError
from training.loop.distributed import Team
from training.loop.order import Order
from training.run import main
from training.settings.training import parse
from training.train import check_team

ROOT = Path(__file__).resolve().parents[3]
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
FSDP = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_RESHARD_AFTER_FORWARD": "true"}


def arguments(model: Path, dataset: Path, out: Path, *more: str) -> list[str]:
    line = ["--data", str(dataset), "--model", str(model), "--out", str(out), "--steps", "12", "--batch", "4"]
    return [*line, "--lr", "1e-3", "--precision", "fp32", "--device", "cpu", *more]


def started(line: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
    """The same command in two processes, which with their launcher are a group of their own."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", port]
    return subprocess.Popen(
        [*launcher, "training/run.py", *line],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def together(line: list[str], **environment: str) -> None:
    """Run it to its end."""
    run = started(line, environment)
    _, words = run.communicate()
    assert run.returncode == 0, words[-3000:]


def together_until_killed(line: list[str], out: Path, **environment: str) -> None:
    """kill -9 of all of them once there is a checkpoint, before the end."""
    with started(line, environment) as run:
        while not list(out.glob("checkpoints/step-*")) and run.poll() is None:
            time.sleep(0.01)
        os.killpg(run.pid, signal.SIGKILL)
    assert list(out.glob("checkpoints/step-*")) and not (out / "training.json").exists()


def same_runs(first: Path, second: Path) -> None:
    """The same losses and, up to rounding, the same weights."""
    held, other = (
        [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()] for out in (first, second)
    )
    assert [line["step"] for line in held] == [line["step"] for line in other] == [10, 12]
    for line, twin in zip(held, other, strict=True):
        for name in ("loss", "accuracy", "chosen_error", "ref_rejected_error", "gradient_norm"):
            if name in line:
                assert twin[name] == pytest.approx(line[name], rel=2e-4), name
    states = [load_file(out / WEIGHTS) for out in (first, second)]
    assert states[0].keys() == states[1].keys()
    for key in states[0]:
        torch.testing.assert_close(states[0][key], states[1][key], rtol=1e-2, atol=1e-3)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_processes_are_one_with_the_same_batch(sd15_folder: Path, dataset: Path, tmp_path: Path) -> None:
    flags = ["--method", "kto", "--beta", "100", "--micro-batch", "1"]  # kto looks at the whole batch
    assert main(arguments(sd15_folder, dataset, tmp_path / "one", *flags)) == 0
    together(arguments(sd15_folder, dataset, tmp_path / "two", *flags))
    same_runs(tmp_path / "one", tmp_path / "two")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_sdxl_trains_with_its_weights_spread_over_two_processes_and_resumes(
    sdxl_folder: Path, dataset: Path, tmp_path: Path
) -> None:
    flags = ["--method", "dpo", "--beta", "500", "--checkpoint-every", "2", "--ema", "0.5", "--micro-batch", "1"]
    assert main(arguments(sdxl_folder, dataset, tmp_path / "one", *flags)) == 0
    line = arguments(sdxl_folder, dataset, tmp_path / "spread", *flags)
    together_until_killed(line, tmp_path / "spread", **FSDP)
    together(line, **FSDP)
    same_runs(tmp_path / "one", tmp_path / "spread")
    config = json.loads((tmp_path / "spread" / "unet" / "config.json").read_text())
    assert config["_class_name"] == "UNet2DConditionModel"


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--method", "mapo", "--batch", "1"], "--batch 1 is less than a pair for each of 2 processes"),
        (["--method", "mapo", "--batch", "5", "--lora-rank", "0"], "--batch must be a multiple of the 2 processes"),
        (["--method", "mapo", "--lora-rank", "2"], "it is for full fine-tuning"),
        (["--method", "livo"], "it is for full fine-tuning"),
        (["--method", "sft", "--precision", "fp16"], "--precision is bf16 or fp32"),
        (["--method", "sft", "--frozen-precision", "bf16"], "--frozen-precision is fp32"),
        (["--method", "sft", "--optimizer", "adafactor"], "--optimizer is adamw"),
    ],
)
def test_what_processes_cannot_share_out_is_refused(more: list[str], says: str) -> None:
    settings = parse(["--data", "x", "--out", "y", *more])
    with pytest.raises(TrainingError, match=says):
        check_team(settings, Team(torch.device("cpu"), 0, 2, fsdp_plugin=object()))


def test_shares_cover_the_batch() -> None:
    shares = [Team(torch.device("cpu"), index, 3).local_slice(8) for index in range(3)]
    assert [place for share in shares for place in share] == list(range(8))
    assert all(len(share) in (2, 3) for share in shares)


READ = """
import json, sys
from pathlib import Path
from training import data
from training.loop.distributed import init_processes
from training.loop.order import Order
with init_processes("cpu") as team:
    pairs = data.load(sys.argv[1])
    order = Order([len(prompt) % 2 for prompt in pairs.prompts] if sys.argv[3] == "two" else [0] * len(pairs), 3, 7)
    places = team.local_slice(3)
    read = [[pairs.prompts[row] for row in order.rows(step)[places.start : places.stop]] for step in range(8)]
    told = {"process": team.process_index, "of": team.num_processes, "read": read}
    Path(sys.argv[2], f"{team.process_index}.json").write_text(json.dumps(told))
    team.barrier()
"""


@pytest.mark.slow  # two launchers, each with a process that imports torch
@pytest.mark.timeout(300)
@pytest.mark.parametrize("buckets", ["one", "two"])
def test_two_machines_read_the_shards_without_overlap_or_omission(dataset: Path, tmp_path: Path, buckets: str) -> None:
    (tmp_path / "read.py").write_text(READ)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", "training/configs/machines.yaml"]
    launch += ["--num_processes", "2", "--main_process_ip", "127.0.0.1", "--main_process_port", port]
    script = [str(tmp_path / "read.py"), str(dataset), str(tmp_path), buckets]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    machines = [
        subprocess.Popen([*launch, "--machine_rank", str(rank), *script], cwd=ROOT, env=environment)
        for rank in range(2)
    ]
    assert [machine.wait(200) for machine in machines] == [0, 0]
    told = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    assert [(one["process"], one["of"]) for one in told] == [(0, 2), (1, 2)]
    pairs = load(str(dataset))
    order = Order([len(prompt) % 2 for prompt in pairs.prompts] if buckets == "two" else [0] * len(pairs), 3, 7)
    batches = [[*one, *other] for one, other in zip(told[0]["read"], told[1]["read"], strict=True)]
    assert batches == [[pairs.prompts[row] for row in order.rows(step)] for step in range(8)]
    if buckets == "one":  # 12 pairs, four batches a pass
        assert sorted(sum(batches[:4], [])) == sorted(sum(batches[4:], [])) == sorted(pairs.prompts)


def test_the_settings_for_several_machines_are_accelerates_own() -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    held = load_config_from_file(str(ROOT / "training" / "configs" / "machines.yaml"))
    assert (held.num_machines, held.num_processes, held.machine_rank) == (2, 16, 0)
    assert held.main_process_ip and held.rdzv_backend == "static"


def test_the_settings_for_fsdp_are_accelerates_own() -> None:
    from accelerate.commands.config.config_args import load_config_from_file
    from accelerate.commands.launch import launch_command_parser

    held = load_config_from_file(str(ROOT / "training" / "configs" / "fsdp.yaml"))
    assert str(held.distributed_type.value) == "FSDP" and held.fsdp_config["fsdp_version"] == 2
    known = {action.dest for action in launch_command_parser()._actions}
    assert set(held.fsdp_config) <= known
