"""The training program as a user runs it: results that diffusers loads, same command same weights, one-line errors."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from misfits import copy, reset, rewrite
from PIL import Image
from safetensors.torch import load_file

from training.run import main

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = {
    "livo": "value_encoder/model.safetensors",
    "lora": "pytorch_lora_weights.safetensors",
    "unet": "unet/diffusion_pytorch_model.safetensors",
}


def arguments(model: Path, dataset: Path, out: Path, *more: str) -> list[str]:
    line = ["--data", str(dataset), "--model", str(model), "--out", str(out), "--steps", "3", "--batch", "4"]
    return [*line, "--lr", "1e-3", "--precision", "fp32", *more]


def run(model: Path, dataset: Path, out: Path, *more: str) -> int:
    return main(arguments(model, dataset, out, *more))


def pipeline(folder: Path) -> Any:
    from diffusers import DiffusionPipeline

    kind: Any = DiffusionPipeline
    return kind.from_pretrained(folder)


@pytest.mark.parametrize("method", ["sft", "dpo", "mapo", "livo"])
def test_same_command_same_weights(method: str, sd15_folder: Path, dataset: Path, tmp_path: Path) -> None:
    states = []
    for name in ("a", "b"):
        assert run(sd15_folder, dataset, tmp_path / name, "--method", method) == 0
        states.append(load_file(tmp_path / name / WEIGHTS["livo" if method == "livo" else "unet"]))
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    lines = [json.loads(line) for line in (tmp_path / "a" / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == 3
    assert {"loss", "accuracy", "margin", "chosen_error", "rejected_error"} <= set(lines[-1])
    assert ("ref_chosen_error" in lines[-1]) == (method in ("dpo", "livo"))


def test_another_seed_gives_other_weights(sd15_folder: Path, dataset: Path, tmp_path: Path) -> None:
    for seed in ("0", "1"):
        assert run(sd15_folder, dataset, tmp_path / seed, "--method", "livo", "--seed", seed) == 0
    first, second = (load_file(tmp_path / seed / WEIGHTS["livo"]) for seed in ("0", "1"))
    assert any(not torch.equal(first[key], second[key]) for key in first)


def test_a_run_is_known_by_its_weights_and_not_by_the_spelling_of_a_path(
    sd15_folder: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, out = copy(sd15_folder, tmp_path), tmp_path / "out"
    (tmp_path / "link").symlink_to(model)
    assert run(model, dataset, out, "--method", "sft") == 0
    for spelled, data in ((f"{model}/", f"{dataset}/"), (tmp_path / "link", dataset), (sd15_folder, dataset)):
        capsys.readouterr()
        line = ["--data", str(data), "--model", str(spelled), "--out", str(out), "--steps", "3", "--batch", "4"]
        assert main([*line, "--lr", "1e-3", "--precision", "fp32", "--method", "sft"]) == 0
        assert "already holds this run; nothing to do" in capsys.readouterr().out
    rewrite(model / "unet", lambda tensors: tensors | {"conv_out.bias": tensors["conv_out.bias"] + 1e-3})
    assert run(model, dataset, out, "--method", "sft") == 2
    assert "holds another run (it differs in model_weights)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("part", "values", "words"),
    [
        ("unet", {"in_channels": 9}, "reads 9 channels"),
        ("unet", {"num_class_embeds": 4}, "reads classes besides text"),
        ("scheduler", {"prediction_type": "sample"}, "the model predicts 'sample'"),
        ("scheduler", {"_class_name": "EDMEulerScheduler"}, "defines noise in a way of its own"),
        ("vae", {"shift_factor": 0.1}, "has shift_factor"),
    ],
)
def test_a_model_that_is_not_for_this_is_refused_before_an_image_is_encoded(
    part: str,
    values: dict[str, Any],
    words: str,
    sd15_folder: Path,
    dataset: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = copy(sd15_folder, tmp_path)
    reset(next((model / part).glob("*config.json")), **values)
    monkeypatch.setattr("training.cache.latents.open_or_build", lambda *given, **more: pytest.fail("encoded"))
    assert run(model, dataset, tmp_path / "out", "--method", "sft") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and words in line


def test_a_full_unet_loads_in_diffusers(sd15_folder: Path, dataset: Path, tmp_path: Path) -> None:
    from diffusers import UNet2DConditionModel

    assert run(sd15_folder, dataset, tmp_path / "out", "--method", "mapo") == 0
    pipe = pipeline(sd15_folder)
    kind: Any = UNet2DConditionModel
    before = pipe.unet.state_dict()
    pipe.unet = kind.from_pretrained(tmp_path / "out" / "unet")
    assert any(not torch.equal(before[k], v) for k, v in pipe.unet.state_dict().items())
    assert len(pipe("a chef", num_inference_steps=2).images) == 1


def test_controls_change_what_is_learnt(sd15_folder: Path, dataset: Path, tmp_path: Path) -> None:
    states = []
    for name, more in (("plain", []), ("swapped", ["--control", "swapped-labels"])):
        assert run(sd15_folder, dataset, tmp_path / name, "--method", "mapo", *more) == 0
        states.append(load_file(tmp_path / name / WEIGHTS["unet"]))
    assert any(not torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert json.loads((tmp_path / "swapped" / "training.json").read_text())["run"]["control"] == "swapped-labels"


def test_the_average_of_the_weights_is_what_is_saved(sd15_folder: Path, dataset: Path, tmp_path: Path) -> None:
    base = load_file(sd15_folder / WEIGHTS["unet"])
    moved = {}
    for name, more in (("last", []), ("average", ["--ema", "0.999"])):
        assert run(sd15_folder, dataset, tmp_path / name, "--method", "sft", *more) == 0
        state = load_file(tmp_path / name / WEIGHTS["unet"])
        moved[name] = sum(float((state[key] - base[key]).abs().sum()) for key in base)
    assert 0 < moved["average"] < moved["last"]


@pytest.mark.parametrize("method", ["dpo", "dapt"])
def test_baselines_train_the_value_encoder_too(method: str, sd15_folder: Path, dataset: Path, tmp_path: Path) -> None:
    more = ["--method", method, "--part", "value-encoder", "--leak-penalty", "0"]
    assert run(sd15_folder, dataset, tmp_path / "out", *more) == 0
    assert (tmp_path / "out" / WEIGHTS["livo"]).is_file() and not (tmp_path / "out" / "unet").exists()


@pytest.mark.parametrize("method", ["livo", "sft"])
def test_pictures_of_named_prompts_and_seeds_are_kept_for_every_step(
    method: str, sd15_folder: Path, dataset: Path, tmp_path: Path
) -> None:
    named = ["--grid-every", "1", "--grid-seeds", "2", "--grid-prompts", "a red cup", "a blue cup", "a red cup"]
    named += ["--grid-principle", "smoke considered inappropriate"] if method == "livo" else []
    line = ["--data", str(dataset), "--model", str(sd15_folder), "--method", method, "--out", str(tmp_path / "o")]
    assert main([*line, "--steps", "2", "--batch", "2", "--lr", "0.01", "--warmup", "0", *named]) == 0
    names = {f"{prompt}-{seed}.png" for prompt in range(2) for seed in range(2)}
    pictures = {}
    for step in ("base", "step-00000001", "step-00000002"):
        folder = tmp_path / "o" / "grids" / step
        assert {path.name for path in folder.iterdir()} == names
        pictures[step] = {name: (folder / name).read_bytes() for name in names}
        assert len(set(pictures[step].values())) == 4  # each from a text and noise of its own
    assert all(pictures["base"][name] != pictures["step-00000002"][name] for name in names)
    with Image.open(tmp_path / "o" / "grids" / "step-00000002.png", formats=["PNG"]) as sheet:
        assert sheet.width == 4 * 128  # base and current, for each seed


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--grid-prompts", "a cup"], "--grid-prompts is for grids: give --grid-every"),
        (["--grid-seeds", "2"], "--grid-seeds is for grids: give --grid-every"),
        (["--grid-every", "1", "--grid-principle", "x"], "--grid-principle is what a value encoder reads"),
        (["--grid-every", "1", "--grid-prompts", "a", " "], "take texts, and one is empty"),
        (["--grid-every", "1", "--method", "livo", "--grid-prompts", "a"], "give --grid-principle"),
    ],
)
def test_grids_that_cannot_be_drawn_are_one_line(
    more: list[str], says: str, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    method = [] if "--method" in more else ["--method", "sft"]
    assert main(["--data", str(dataset), "--out", "x", *method, *more]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("method", ["livo", "mapo"])
def test_grids_are_drawn_and_change_nothing(method: str, sd15_folder: Path, dataset: Path, tmp_path: Path) -> None:
    for name, more in (("plain", []), ("grids", ["--grid-every", "2"])):
        assert run(sd15_folder, dataset, tmp_path / name, "--method", method, *more) == 0
    with Image.open(tmp_path / "grids" / "grids" / "step-00000002.png") as sheet:
        assert sheet.width == 2 * 128  # the base model and the weights of now
    weights = WEIGHTS["livo" if method == "livo" else "unet"]
    plain, drawn = (load_file(tmp_path / name / weights) for name in ("plain", "grids"))
    assert all(torch.equal(plain[key], drawn[key]) for key in plain)


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_lora_loads_in_diffusers(family: str, dataset: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(f"{family}_folder")
    assert run(folder, dataset, tmp_path / "out", "--method", "mapo", "--lora-rank", "2") == 0
    pipe = pipeline(folder)
    pipe.load_lora_weights(str(tmp_path / "out"))
    assert pipe.unet.peft_config
    state = load_file(tmp_path / "out" / WEIGHTS["lora"])
    assert any(key.endswith(("lora_B.weight", "lora.up.weight")) and bool(value.any()) for key, value in state.items())


def test_a_value_encoder_loads_in_transformers(sd15_folder: Path, dataset: Path, tmp_path: Path) -> None:
    from transformers import CLIPTextModel

    assert run(sd15_folder, dataset, tmp_path / "out", "--method", "livo", "--leak-penalty", "5") == 0
    CLIPTextModel.from_pretrained(tmp_path / "out" / "value_encoder")
    assert "penalty" in json.loads((tmp_path / "out" / "metrics.jsonl").read_text().splitlines()[-1])


def test_several_principles_at_once_are_learned_in_micro_batches(
    sd15_folder: Path, dataset: Path, tmp_path: Path
) -> None:
    more = ["--method", "livo", "--leak-penalty", "5", "--max-principles", "2", "--micro-batch", "1"]
    assert run(sd15_folder, dataset, tmp_path / "out", *more) == 0
    assert json.loads((tmp_path / "out" / "metrics.jsonl").read_text())["penalty"] > 0


def test_a_finished_run_is_left_alone(
    sd15_folder: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(sd15_folder, dataset, out, "--method", "sft") == 0
    stamp = (out / WEIGHTS["unet"]).stat().st_mtime_ns
    assert run(sd15_folder, dataset, out, "--method", "sft") == 0
    assert "nothing to do" in capsys.readouterr().out
    assert run(sd15_folder, dataset, out, "--method", "mapo") == 2
    assert "holds another run (it differs in method" in capsys.readouterr().err
    assert (out / WEIGHTS["unet"]).stat().st_mtime_ns == stamp


def test_the_same_pairs_elsewhere_are_the_same_run(
    sd15_folder: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(sd15_folder, dataset, tmp_path / "out", "--method", "sft") == 0
    shutil.copytree(dataset, tmp_path / "moved")
    for spelt in (tmp_path / "moved", dataset / "data" / ".." / ""):
        assert run(sd15_folder, spelt, tmp_path / "out", "--method", "sft", "--skip-bad") == 0
        assert "nothing to do" in capsys.readouterr().out
    assert run(sd15_folder, dataset, tmp_path / "out", "--method", "sft", "--limit", "8") == 2
    assert "it differs in data_digest, pairs" in capsys.readouterr().err


@pytest.mark.parametrize("more", [["--method", "sft"], ["--method", "dpo", "--lora-rank", "2"], ["--method", "livo"]])
def test_weights_that_are_not_finite_are_not_saved(
    more: list[str], sd15_folder: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["--steps", "1", "--warmup", "0", "--lr", "1e308"]
    assert run(sd15_folder, dataset, tmp_path / "out", *more, *line) == 2  # the loss of its one step was finite
    assert "the weights are not finite after step 1: lower --lr" in capsys.readouterr().err
    assert not (tmp_path / "out" / "training.json").exists()


def test_foreign_folders_are_not_touched(
    sd15_folder: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    assert run(sd15_folder, dataset, tmp_path, "--method", "sft") == 2
    assert "choose an empty or new folder" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--method", "sppo"], "--method: no loss is called 'sppo'; did you mean 'smpo'?"),
        (["--method", "mapo", "--gamma1", "1"], "--gamma1 is an option of livo; mapo has --beta"),
        (
            ["--method", "sft", "--leak-penalty", "1"],
            "--leak-penalty is for --part value-encoder; sft trains",
        ),
        (["--method", "livo", "--lora-rank", "4"], "--lora-rank is for --part unet; livo trains the value-encoder"),
        (["--method", "livo", "--part", "unet"], "it trains --part value-encoder only"),
        (
            ["--method", "rankdpo", "--uncond-share", "0.1"],
            "--uncond-share holds pairs in place; rankdpo learns",
        ),
        (["--method", "sft", "--batch", "0"], "--batch is '0': it should be greater than or equal to 1"),
        (["--method", "sft", "--lr", "nan"], "--lr is 'nan': it should be a finite number"),
        (["--method", "sft", "--device", "cuda:99"], "no device 'cuda:99'"),
        (["--method", "sft", "--steps", "many"], "--steps is 'many': it should be a valid integer"),
    ],
)
def test_bad_arguments_are_one_line(
    more: list[str], says: str, sd15_folder: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(sd15_folder, dataset, tmp_path / "out", *more) == 2
    error = capsys.readouterr().err
    assert says in error and error.startswith("error: ") and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_model_without_weights_is_one_line(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "one.safetensors").write_bytes(b"x")
    assert run(tmp_path / "one.safetensors", dataset, tmp_path / "out", "--method", "sft") == 2
    assert "one.safetensors is cut short or no safetensors file" in capsys.readouterr().err
    (tmp_path / "model").mkdir()
    assert run(tmp_path / "model", dataset, tmp_path / "out", "--method", "sft") == 2
    assert "is not a diffusers folder" in capsys.readouterr().err
    (tmp_path / "model" / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    assert run(tmp_path / "model", dataset, tmp_path / "out", "--method", "sft") == 2
    error = capsys.readouterr().err
    assert "has no text_encoder" in error and error.count("\n") == 1


def test_livo_needs_principles(
    sd15_folder: Path, make_rows: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{k: v for k, v in row.items() if k != "principle"} for row in make_rows(2)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "pairs.parquet")
    assert run(sd15_folder, tmp_path / "pairs.parquet", tmp_path / "out", "--method", "livo") == 2
    assert "needs a column 'principle'" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("how", [["training/run.py"], ["-m", "training.run"]])
def test_runs_as_a_file_and_as_a_module(how: list[str], sd15_folder: Path, dataset: Path, tmp_path: Path) -> None:
    line = [sys.executable, *how, *arguments(sd15_folder, dataset, tmp_path / "out", "--method", "sft")]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "saved to" in done.stdout
    assert "Traceback" not in done.stderr
