"""The optimizers: what they keep, what a learning rate means to them, how they are left and taken up again."""

from __future__ import annotations

import importlib
import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import fake_bitsandbytes
import pytest
import timm
import torch
from safetensors.torch import load_file
from torch import nn

from training.errors import TrainingError
from training.loop import optimizers
from training.run import main
from training.settings.training import Optimizer

CPU = torch.device("cpu")
NAMES = ["adamw", "adafactor", "adamw-8bit"]
HERE = importlib.util.find_spec("bitsandbytes") is not None
# What its library makes of it is seen with that alone, and what the trainer makes of the library with its double, too.
EIGHT = pytest.param("adamw-8bit", marks=pytest.mark.skipif(not HERE, reason="bitsandbytes is not installed"))
OWN = ["adamw", "adafactor", EIGHT]


@pytest.fixture(autouse=True)
def eight_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real library where it is installed, else its double."""
    if not HERE:
        pretend(monkeypatch, fake_bitsandbytes.module())


def pretend(monkeypatch: pytest.MonkeyPatch, library: ModuleType | None) -> None:
    """Have bitsandbytes be this one, or none; for the trainer alone, since peft looks for it, too."""
    load = importlib.import_module

    def imported(name: str) -> ModuleType:
        if name == "bitsandbytes" and library is None:
            raise ModuleNotFoundError(name)
        return library if name == "bitsandbytes" and library else load(name)

    monkeypatch.setattr(optimizers, "imported", imported)


def settings(name: str, **more: float) -> Optimizer:
    given = {"optimizer": name, "steps": 9, "batch": 1, "lr": 1e-3, "weight_decay": 0.0}
    return Optimizer.model_validate({**given, **more})


def weights() -> list[nn.Parameter]:
    """A linear layer's, a convolution's, a norm's."""
    torch.manual_seed(0)
    return [nn.Parameter(torch.randn(shape)) for shape in ((320, 640), (320, 160, 3, 3), (320,))]


def stepped(name: str, count: int = 1, **more: float) -> tuple[torch.optim.Optimizer, list[nn.Parameter]]:
    held = weights()
    made = optimizers.make(settings(name, **more), held, CPU)
    for _ in range(count):
        for weight in held:
            weight.grad = torch.randn_like(weight)
        made.step()
    return made, held


def same(first: list[nn.Parameter], second: list[nn.Parameter]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("name", OWN)
def test_bytes_that_are_kept_for_a_weight(name: str) -> None:
    least, most = {"adamw": (8, 8), "adafactor": (0, 0.1), "adamw-8bit": (2, 2.2)}[name]
    made, held = stepped(name)
    kept = sum(tensor.nbytes for named in optimizers.tensors(made, held).values() for tensor in named.values())
    assert least <= kept / sum(weight.numel() for weight in held) <= most


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e4])
def test_a_learning_rate_is_how_far_a_weight_goes_whatever_its_gradient(name: str, scale: float) -> None:
    held = [nn.Parameter(torch.zeros(64, 128)), nn.Parameter(torch.full((64, 128), 50.0))]
    made = optimizers.make(settings(name), held, CPU)
    torch.manual_seed(0)
    before = [weight.detach().clone() for weight in held]
    for weight in held:
        weight.grad = scale * torch.randn(weight.shape).sign()
    made.step()
    for weight, old in zip(held, before, strict=True):
        torch.testing.assert_close((weight - old).abs(), torch.full_like(old, 1e-3), rtol=0.02, atol=4e-6)
        assert torch.equal((weight - old).sign(), -weight.grad.sign())  # type: ignore[union-attr]


@pytest.mark.parametrize("name", OWN)
def test_weight_decay_is_a_share_of_the_learning_rate(name: str) -> None:
    (_, held), (_, decayed) = stepped(name), stepped(name, weight_decay=0.5)
    for weight, less, began in zip(held, decayed, weights(), strict=True):
        torch.testing.assert_close(weight - less, 1e-3 * 0.5 * began, rtol=2e-2, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_taken_up_again_goes_on_bit_for_bit(name: str) -> None:
    made, held = stepped(name, 3)
    kept = {n: {i: t.clone() for i, t in named.items()} for n, named in optimizers.tensors(made, held).items()}
    others = [nn.Parameter(weight.detach().clone()) for weight in held]
    other = optimizers.make(settings(name), others, CPU)
    optimizers.restore(other, others, optimizers.steps(made, held), list(kept), kept.__getitem__)
    for step in range(3):
        for weight, twin in zip(held, others, strict=True):
            weight.grad = torch.full_like(weight, step + 1.0)
            twin.grad = weight.grad.clone()
        made.step()
        other.step()
    assert optimizers.steps(other, others) == 6 and same(held, others)
    again = optimizers.tensors(other, others)
    for key, named in optimizers.tensors(made, held).items():
        for i, tensor in named.items():
            assert again[key][i].dtype == tensor.dtype and torch.equal(again[key][i], tensor)


def test_a_state_that_lacks_a_weight_is_no_state() -> None:
    made, held = stepped("adafactor")
    kept = optimizers.tensors(made, held)
    with pytest.raises(ValueError, match="nothing of weight 2"):
        optimizers.restore(made, held, 1, ["exp_avg_sq_row"], kept.__getitem__)  # the norm has no rows


class NoKernel(fake_bitsandbytes.AdamW8bit):
    def step(self, closure: Any = None) -> None:
        raise NotImplementedError("no kernel image for this device\nlong story")


@pytest.mark.parametrize(
    ("library", "says"),
    [
        (None, r"--optimizer adamw-8bit is bitsandbytes's, which is not installed: pip install '.\[adamw-8bit\]' in"),
        (
            fake_bitsandbytes.module("9.9", NoKernel),
            r"bitsandbytes 9.9 does not run on cpu \(no kernel image for this device",
        ),
        (ModuleType("bitsandbytes"), "bitsandbytes does not load: module 'bitsandbytes' has no attribute"),
    ],
)
def test_a_library_that_cannot_be_used_is_one_line(
    library: ModuleType | None, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, library)
    with pytest.raises(TrainingError, match=says) as caught:
        optimizers.library(settings("adamw-8bit"), CPU)
    assert "\n" not in str(caught.value)


def test_torchs_own_needs_no_library_and_the_others_name_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, fake_bitsandbytes.module("1.2"))
    named = [optimizers.library(settings(name), CPU) for name in NAMES]
    assert named == [None, f"timm {timm.__version__}", "bitsandbytes 1.2"]


def line(model: Path, dataset: Path, out: Path, name: str, *more: str) -> list[str]:
    given = ["--data", str(dataset), "--model", str(model), "--out", str(out), "--batch", "4", "--steps", "6"]
    shared = ["--lr", "1e-3", "--precision", "fp32", "--checkpoint-every", "2", "--optimizer", name]
    return [*given, *shared, *more]


def stopped(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The run up to its fourth step, which a full disk ends."""
    from training.loop.update import Update

    step = Update.__call__

    def fails(self: Update, number: int) -> Any:
        if number == 3:
            raise OSError(28, "No space left on device", "x")
        return step(self, number)

    with monkeypatch.context() as patch:
        patch.setattr(Update, "__call__", fails)
        assert main(arguments) == 2


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("flags", "file"),
    [
        (["--method", "mapo", "--lora-rank", "4", "--ema", "0.5"], "pytorch_lora_weights.safetensors"),
        (["--method", "sft"], "unet/diffusion_pytorch_model.safetensors"),
    ],
    ids=["lora", "unet"],
)
def test_a_stopped_run_ends_with_the_weights_of_one_that_was_not(
    name: str, flags: list[str], file: str, sd15_folder: Path, dataset: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    whole, parts = (line(sd15_folder, dataset, tmp_path / out, name, *flags) for out in ("whole", "parts"))
    assert main(whole) == 0
    stopped(parts, monkeypatch)
    assert main(parts) == 0
    first, second = (load_file(tmp_path / out / file) for out in ("whole", "parts"))
    assert first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)
    recorded = json.loads((tmp_path / "parts" / "training.json").read_text())
    assert recorded["optimizer"]["optimizer"] == name
    assert recorded.get("optimizer_library", "").partition(" ")[0] == {
        "adamw": "", "adafactor": "timm", "adamw-8bit": "bitsandbytes"
    }[name]  # fmt: skip


def test_a_run_goes_on_with_its_own_optimizer_and_its_version_only(
    sd15_folder: Path,
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pretend(monkeypatch, fake_bitsandbytes.module("1.0"))
    flags = ["--method", "sft", "--lora-rank", "2"]
    eight, other = (line(sd15_folder, dataset, tmp_path / "out", name, *flags) for name in ("adamw-8bit", "adafactor"))
    stopped(eight, monkeypatch)
    assert "adamw-8bit, lr 0.001" in capsys.readouterr().out
    assert main(other) == 2
    assert "it differs in optimizer, optimizer_library): choose another --out" in capsys.readouterr().err
    pretend(monkeypatch, fake_bitsandbytes.module("1.1"))
    assert main(eight) == 2
    assert "it differs in optimizer_library)" in capsys.readouterr().err
    pretend(monkeypatch, None)
    assert main(eight) == 2
    assert "is not installed: pip install" in capsys.readouterr().err


@pytest.mark.parametrize("given", ["adam", "AdamW", "adamw8bit", "lion", ""])
def test_an_unknown_optimizer_is_refused_with_those_there_are(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", "x", "--out", "y", "--method", "dpo", "--optimizer", given]) == 2
    error = capsys.readouterr().err
    assert "--optimizer is" in error and all(name in error for name in NAMES) and error.count("\n") == 1
