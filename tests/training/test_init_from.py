"""--init-from as a user gives it: what is said, what a run is known by, and what it does when it is resumed."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from training.run import main

LORA = "pytorch_lora_weights.safetensors"
UNET = "unet/diffusion_pytorch_model.safetensors"
VALUE = "value_encoder/model.safetensors"


def arguments(model: Path, dataset: Path, out: Path, *more: str) -> list[str]:
    line = ["--data", str(dataset), "--model", str(model), "--out", str(out), "--steps", "4", "--batch", "4"]
    return [*line, "--lr", "1e-3", "--precision", "fp32", "--device", "cpu", "--warmup", "0", *more]


def metrics(out: Path) -> dict[str, Any]:
    return dict(json.loads((out / "metrics.jsonl").read_text().splitlines()[-1]))


@pytest.fixture(scope="module")
def lora(sd15_folder: Path, dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run of supervised LoRA wrote."""
    out = tmp_path_factory.mktemp("first") / "out"
    assert main(arguments(sd15_folder, dataset, out, "--method", "sft", "--lora-rank", "2", "--lr", "0.05")) == 0
    return out


@pytest.mark.parametrize("alpha", [[], ["--lora-alpha", "1"]])
def test_dpo_begins_at_its_reference_which_is_the_start(
    alpha: list[str], lora: Path, sd15_folder: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--method", "dpo", "--lora-rank", "2", "--init-from", str(lora), "--steps", "1", *alpha]
    assert main(arguments(sd15_folder, dataset, tmp_path / "out", *more)) == 0
    said = capsys.readouterr()
    assert f"starts from LoRA in {lora / LORA}; the reference is this start" in said.out
    assert "peft" not in said.err and "Warning" not in said.err
    line = metrics(tmp_path / "out")
    assert line["loss"] == pytest.approx(math.log(2), abs=1e-6) and line["chosen_error"] == line["ref_chosen_error"]
    plain = tmp_path / "plain"
    assert main(arguments(sd15_folder, dataset, plain, "--method", "dpo", "--lora-rank", "2", "--steps", "1")) == 0
    assert metrics(plain)["ref_chosen_error"] != line["ref_chosen_error"]
    facts = json.loads((tmp_path / "out" / "training.json").read_text())
    assert len(facts["init_weights"]) == 16 and facts["run"]["init_from"] == str(lora)
    assert "init_weights" not in json.loads((plain / "training.json").read_text())


def test_a_loss_without_reference_speaks_of_none(
    lora: Path, sd15_folder: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--method", "mapo", "--lora-rank", "2", "--init-from", str(lora / LORA)]
    assert main(arguments(sd15_folder, dataset, tmp_path / "out", *more)) == 0
    said = capsys.readouterr().out
    assert f"starts from LoRA in {lora / LORA}\n" in said and "; the reference" not in said
    assert "note: " not in said  # it was trained on this model


def same(first: Path, second: Path) -> bool:
    one, other = load_file(first), load_file(second)
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("first", "then", "weights"),
    [
        (["--method", "sft"], ["--method", "dpo"], UNET),
        (["--method", "sft", "--lora-rank", "2"], ["--method", "dpo", "--lora-rank", "2"], LORA),
        (["--method", "livo"], ["--method", "livo", "--leak-penalty", "3"], VALUE),
    ],
    ids=["unet", "lora", "livo"],
)
def test_a_start_is_part_of_what_a_run_is_known_by(
    first: list[str],
    then: list[str],
    weights: str,
    sd15_folder: Path,
    dataset: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(arguments(sd15_folder, dataset, tmp_path / "first", *first)) == 0
    out = tmp_path / "out"
    line = arguments(sd15_folder, dataset, out, *then, "--init-from", str(tmp_path / "first"))
    assert main(line) == 0
    shutil.move(tmp_path / "first", tmp_path / "moved")
    moved = [*line[:-1], str(tmp_path / "moved")]
    capsys.readouterr()
    assert main(moved) == 0  # the same weights, wherever they lie
    assert "nothing to do" in capsys.readouterr().out
    # It goes on with more steps, from the same start, as one that had them at once.
    assert main([*moved, "--steps", "8"]) == 0
    whole = arguments(sd15_folder, dataset, tmp_path / "whole", *then, "--init-from", str(tmp_path / "moved"))
    assert main([*whole, "--steps", "8"]) == 0
    assert same(out / weights, tmp_path / "whole" / weights)
    # Without the start, or with another one, it is another run.
    capsys.readouterr()
    assert main([*line[:-2], "--steps", "8"]) == 2
    assert "holds another run (it differs in init_weights)" in capsys.readouterr().err
    path = tmp_path / "moved" / weights
    save_file({name: value + 0.001 for name, value in load_file(path).items()}, path, metadata={"format": "pt"})
    assert main([*moved, "--steps", "8"]) == 2
    assert "holds another run (it differs in init_weights)" in capsys.readouterr().err
    # Where it is gone, that is said, and nothing is begun anew.
    shutil.rmtree(tmp_path / "moved")
    assert main([*moved, "--steps", "12"]) == 2
    assert "there is no --init-from" in capsys.readouterr().err
    assert same(out / weights, tmp_path / "whole" / weights)


def test_an_alpha_in_the_metadata_alone_is_another_start(
    lora: Path, sd15_folder: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from safetensors import safe_open

    start = Path(shutil.copytree(lora, tmp_path / "start"))
    line = arguments(sd15_folder, dataset, tmp_path / "out", "--method", "sft", "--lora-rank", "2")
    line += ["--init-from", str(start)]
    assert main(line) == 0
    with safe_open(start / LORA, "pt") as stream:
        about = dict(stream.metadata())
    facts = json.loads(about["lora_adapter_metadata"])
    facts["unet.lora_alpha"] = 7
    save_file(load_file(start / LORA), start / LORA, {**about, "lora_adapter_metadata": json.dumps(facts)})
    capsys.readouterr()
    assert main(line) == 2
    assert "holds another run (it differs in init_weights)" in capsys.readouterr().err


def test_a_start_that_does_not_fit_costs_no_encoding_and_leaves_nothing(
    lora: Path,
    sd15_folder: Path,
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("training.cache.latents.open_or_build", lambda *given, **more: pytest.fail("encoded"))
    (tmp_path / "empty").mkdir()
    for more, words in (
        (["--lora-rank", "3", "--init-from", str(lora)], "--lora-rank is 3: give --lora-rank 2"),
        (["--init-from", str(lora)], "trains a whole U-Net here"),
        (["--init-from", str(tmp_path / "empty")], "holds no weights"),
    ):
        assert main(arguments(sd15_folder, dataset, tmp_path / "out", "--method", "sft", *more)) == 2
        error = capsys.readouterr().err
        assert words in error and error.startswith("error: ") and error.count("\n") == 1
        assert not (tmp_path / "out").exists()


def test_the_start_of_another_base_model_is_said(
    lora: Path, sd15_folder: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from misfits import copy, rewrite

    model = copy(sd15_folder, tmp_path)
    rewrite(model / "unet", lambda tensors: tensors | {"conv_out.bias": tensors["conv_out.bias"] + 1e-3})
    more = ["--method", "sft", "--lora-rank", "2", "--init-from", str(lora)]
    assert main(arguments(model, dataset, tmp_path / "out", *more)) == 0
    said = capsys.readouterr().out
    assert f"note: {lora} was trained on '{sd15_folder}', whose weights were others than those of '{model}'" in said
