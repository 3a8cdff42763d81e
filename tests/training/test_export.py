"""A whole model is what stock diffusers loads, and it draws what the adapter drew; the hub gets what was listed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import diffusers
import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file

from training.export import main
from training.inference.sampling import attach_adapter
from training.inference.value_guide import ValueGuide
from training.models import diffusion
from training.trainables.livo import LivoTrainable
from training.trainables.unet import UNetTrainable

LIBRARY: Any = diffusers
PROMPTS = ["a chef in park 1", "a doctor"]
PRINCIPLES = ["cracks considered inappropriate", None]


def trained(kind: str, model: Path, out: Path) -> Path:
    """What a training of `kind` leaves in its folder."""
    torch.manual_seed(1)
    loaded = diffusion.load(str(model))
    steers = kind == "value-encoder"
    made: Any = (
        LivoTrainable(loaded, leak_penalty=0.0)
        if steers
        else UNetTrainable(loaded, lora_rank=2 * (kind == "lora"), lora_alpha=4.0 * (kind == "lora"), reference=False)
    )
    with torch.no_grad():
        for weight in made.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    out.mkdir()
    made.save(out)
    (out / "training.json").write_text(json.dumps({"run": {"model": str(model)}}))
    (out / "metrics.jsonl").write_text("{}\n")
    return out


def stock(folder: Path) -> Any:
    pipe = LIBRARY.DiffusionPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def draw(pipe: Any, **words: Any) -> torch.Tensor:
    seeds = [torch.Generator().manual_seed(i) for i in range(len(PROMPTS))]
    size = {"num_inference_steps": 2, "height": 64, "width": 64, "output_type": "latent"}
    made = pipe(**(words or {"prompt": PROMPTS}), generator=seeds, **size).images
    assert isinstance(made, torch.Tensor)
    return made


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
@pytest.mark.parametrize("kind", ["unet", "lora", "value-encoder"])
def test_a_whole_model_draws_what_the_adapter_drew(
    kind: str, family: str, request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model: Path = request.getfixturevalue(f"{family}_folder")
    adapter, out = trained(kind, model, tmp_path / "trained"), tmp_path / "deep" / "whole"
    out.parent.mkdir()
    assert main(["--adapter", str(adapter), "--out", str(out)]) == 0
    assert f"saved to {out}" in capsys.readouterr().out
    assert not list(out.parent.glob(".*")) and (out / "training.json").is_file()
    whole, base = stock(out), stock(model)
    guide = attach_adapter(base, adapter)
    if guide is None:
        torch.testing.assert_close(draw(whole), draw(base), rtol=1e-4, atol=1e-4 if kind == "lora" else 0)
        assert not torch.allclose(draw(whole), draw(stock(model)), atol=1e-3)
        assert not any("lora" in name for name in whole.unet.state_dict())
    else:
        assert torch.equal(draw(whole), draw(stock(model)))
        wanted = draw(base, **guide(PROMPTS, PRINCIPLES))
        assert torch.equal(draw(whole, **ValueGuide(whole, out)(PROMPTS, PRINCIPLES)), wanted)
        assert (out / "pipeline.py").is_file()


def test_half_precision_halves_the_weights(sd15_folder: Path, tmp_path: Path) -> None:
    adapter = trained("lora", sd15_folder, tmp_path / "trained")
    assert main(["--adapter", str(adapter), "--out", str(tmp_path / "half"), "--precision", "fp16"]) == 0
    for part in ("unet", "vae"):
        weights = load_file(tmp_path / "half" / part / "diffusion_pytorch_model.safetensors")
        assert {weight.dtype for weight in weights.values()} == {torch.float16}
    assert main(["--adapter", str(adapter), "--out", str(tmp_path / "whole")]) == 0
    sizes = [
        sum(path.stat().st_size for path in (tmp_path / name).rglob("*.safetensors")) for name in ("half", "whole")
    ]
    assert sizes[0] < 0.6 * sizes[1]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ([], "give --out, the folder to write, or --hub"),
        (["--out", "FULL"], "is there already"),
        (["--out", "NEW", "--adapter", "nowhere"], "there is no --adapter nowhere"),
        (["--out", "NEW", "--model", "embedded"], "does not fit 'embedded'"),
        (["--out", "NEW", "--precision", "int8"], "--precision"),
        (["--push"], "give --out"),
        (["--out", "NEW", "--push"], "--push needs --hub"),
        (["--hub", "no-owner"], "give OWNER/NAME"),
        (["--hub", "a/b", "--push"], "no HF_TOKEN in the environment"),
    ],
)
def test_what_cannot_be_exported_is_one_line(
    more: list[str], says: str, sd15_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.delenv("HF_TOKEN", raising=False)
    adapter = trained("unet", sd15_folder, tmp_path / "trained")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    named = {"FULL": str(tmp_path / "full"), "NEW": str(tmp_path / "new")}
    assert main(["--adapter", str(adapter), *(named.get(word, word) for word in more)]) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(error) == 1 and says in error[0]
    assert not (tmp_path / "new").exists() and (tmp_path / "full" / "mine.txt").read_text() == "mine"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """What the hub's client is asked."""
    asked: list[tuple[str, dict[str, Any]]] = []

    class Api:
        endpoint = "https://hub.invalid"

        def __init__(self, token: str) -> None:
            assert token == "secret-token"

        def create_repo(self, name: str, **given: Any) -> None:
            asked.append((name, given))
            if name.endswith("/refused"):
                raise RuntimeError("401: secret-token may not write\nmore")

        def upload_folder(self, **given: Any) -> None:
            asked.append((given["repo_id"], given))

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    return asked


def test_the_hub_gets_what_was_listed_and_only_when_it_is_asked_for(
    sd15_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hub: list[tuple[str, dict[str, Any]]],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    adapter = trained("lora", sd15_folder, tmp_path / "trained")
    monkeypatch.setenv("HF_TOKEN", "secret-token")
    line = ["--adapter", str(adapter), "--hub", "owner/name"]
    assert main(line) == 0
    said = capsys.readouterr().out
    assert "nothing was uploaded" in said and "pytorch_lora_weights_kohya.safetensors" in said and not hub
    assert "metrics.jsonl" not in said
    assert main([*line, "--push"]) == 0
    assert "uploaded to https://hub.invalid/owner/name" in capsys.readouterr().out
    assert hub[0] == ("owner/name", {"private": True, "exist_ok": True})
    assert set(hub[1][1]["allow_patterns"]) == {
        "pytorch_lora_weights.safetensors", "pytorch_lora_weights_kohya.safetensors", "training.json",
    }  # fmt: skip
    assert main(["--adapter", str(adapter), "--hub", "owner/refused", "--push"]) == 2
    error = capsys.readouterr().err
    assert "owner/refused cannot be written: 401" in error and "secret-token" not in error
