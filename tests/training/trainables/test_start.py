"""What a training starts from: at its first step the model is the very one that a stock pipeline makes of the file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from misfits import copy
from safetensors.torch import load_file, save_file

from datagen.errors import UserError
from datagen.weights import value_pipeline
from training import trainables
from training.losses import LOSSES
from training.models import diffusion
from training.settings.training import parse
from training.trainables import start
from training.trainables.livo import LivoTrainable
from training.trainables.lora import KOHYA
from training.trainables.unet import UNetTrainable

LIBRARY: Any = diffusers
LORA = "pytorch_lora_weights.safetensors"
PRINCIPLES, PROMPTS = ["smoke considered inappropriate"] * 2, ["a chef in park 1", "a doctor"]


def shaken(trainable: Any, by: float = 0.1) -> Any:
    """With weights unlike untrained ones."""
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in trainable.parameters():
            weight.add_(by * torch.randn_like(weight))
    return trainable


def lora(model: Path, folder: Path, **given: Any) -> Path:
    """A run's LoRA, of rank 4 unless another is given."""
    trainable = shaken(UNetTrainable(diffusion.load(model), reference=False, **{"lora_rank": 4, **given}))
    folder.mkdir(exist_ok=True, parents=True)
    trainable.save(folder)
    return folder


def began(model: Path, path: Path, *more: str, method: str = "dpo") -> Any:
    """What a run with --init-from trains before its first step; also its start."""
    line = ["--data", "x", "--out", "y", "--model", str(model), "--method", method, "--init-from", str(path)]
    settings = parse([*line, *more])
    loaded = diffusion.load(model)
    source = start.find(settings)
    assert source is not None
    found = start.read(source, settings, loaded, "")
    reference = LOSSES[method].needs_reference
    return trainables.make(settings, loaded, reference=reference, start=found), found


def prediction(unet: Any, model: diffusion.StableDiffusion) -> torch.Tensor:
    rng = torch.Generator().manual_seed(3)
    latents = torch.randn(2, 4, 8, 8, generator=rng)
    with torch.no_grad():
        hidden, pooled = diffusion.encode_text(model, PROMPTS)
        time_ids = torch.tensor([[64.0, 64, 0, 0, 64, 64]] * 2) if model.is_xl else None
        context = diffusion.Context(hidden, pooled, time_ids)
        return diffusion.predict(unet, latents, torch.tensor([500, 20]), context)


def stock(model: Path, adapter: Path) -> torch.Tensor:
    """The prediction of a stock pipeline with the adapter loaded."""
    pipe = LIBRARY.DiffusionPipeline.from_pretrained(model)
    pipe.load_lora_weights(str(adapter.parent if adapter.is_file() else adapter), weight_name=adapter.name)
    return prediction(pipe.unet, diffusion.load(model))


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
@pytest.mark.parametrize("form", [LORA, KOHYA, "foreign"])
@pytest.mark.parametrize("more", [[], ["--lora-alpha", "10"], ["--lora-alpha", "0.5"]], ids=["plain", "10", "0.5"])
def test_lora_starts_as_the_pipeline_with_the_file_loaded(
    family: str, form: str, more: list[str], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    model = request.getfixturevalue(f"{family}_folder")
    path = lora(model, tmp_path / "lora", lora_alpha=6.0) / (LORA if form == "foreign" else form)
    if form == "foreign":  # an alpha of its own in every layer, and half precision
        path = tmp_path / "foreign.safetensors"
        tensors = {
            name: torch.tensor(10.0) if name.endswith("alpha") else value.half()
            for name, value in load_file(tmp_path / "lora" / KOHYA).items()
        }
        save_file(tensors, path)
    trainable, _ = began(model, path, "--lora-rank", "4", *more)
    expected = stock(model, path)
    plain = prediction(diffusion.load(model).unet, trainable.model)
    assert (plain - expected).abs().max() > 0.01
    torch.testing.assert_close(prediction(trainable.model.unet, trainable.model), expected, rtol=0, atol=1e-5)


def test_what_is_saved_is_the_start_where_nothing_was_learnt(sd15_folder: Path, tmp_path: Path) -> None:
    path = lora(sd15_folder, tmp_path / "lora", lora_targets="transformer")
    trainable, _ = began(sd15_folder, path, "--lora-rank", "4", "--lora-targets", "transformer", "--lora-alpha", "1")
    trainable.save(tmp_path)
    first, second = (load_file(folder / LORA) for folder in (path, tmp_path))
    assert first.keys() == second.keys()
    for name, value in first.items():
        torch.testing.assert_close(second[name], value)


@pytest.mark.parametrize("kind", ["lora", "unet"])
def test_the_reference_is_the_start(
    kind: str, sd15_folder: Path, tmp_path: Path, make_batch: Callable[..., diffusion.Batch]
) -> None:
    if kind == "lora":
        path, more = lora(sd15_folder, tmp_path / "lora"), ["--lora-rank", "4"]
    else:
        path, more = tmp_path / "whole", []
        shaken(UNetTrainable(diffusion.load(sd15_folder), lora_rank=0, reference=False), 0.01).save(path)
    trainable, _ = began(sd15_folder, path, *more)
    frozen = [weight for name, weight in trainable.model.unet.named_parameters() if ".start." in name]
    assert bool(frozen) == (kind == "lora") and not any(weight.requires_grad for weight in frozen)
    batch = make_batch(trainable.model)
    before = trainable.step(batch, reference=True).errors
    torch.testing.assert_close(before.chosen, before.ref_chosen, rtol=0, atol=0)
    plain = UNetTrainable(diffusion.load(sd15_folder), lora_rank=4, reference=True).step(batch, reference=True).errors
    assert before.ref_chosen is not None and plain.ref_chosen is not None
    assert (before.ref_chosen - plain.ref_chosen).abs().max() > 1e-4
    shaken(trainable)
    after = trainable.step(batch, reference=True).errors
    torch.testing.assert_close(after.ref_chosen, before.ref_chosen, rtol=0, atol=0)
    assert (after.chosen - before.chosen).abs().max() > 1e-4
    if kind == "lora":  # what is saved is what is trained, and nothing of the reference
        trainable.save(tmp_path)
        drawn = prediction(trainable.model.unet, trainable.model)
        torch.testing.assert_close(drawn, stock(sd15_folder, tmp_path / LORA), rtol=0, atol=1e-5)
        assert load_file(tmp_path / LORA).keys() == load_file(path / LORA).keys()


@pytest.mark.parametrize("where", ["out", "unet", "pipeline"])
def test_a_whole_u_net_starts_as_the_one_in_the_folder(where: str, sd15_folder: Path, tmp_path: Path) -> None:
    model = copy(sd15_folder, tmp_path)
    trained = shaken(UNetTrainable(diffusion.load(sd15_folder), lora_rank=0, reference=False), 0.01)
    trained.save(tmp_path / "out")
    path = {"out": tmp_path / "out", "unet": tmp_path / "out" / "unet", "pipeline": model}[where]
    if where == "pipeline":
        trained.save(model)
    trainable, found = began(sd15_folder, path, method="mapo")
    for name, value in trained.model.unet.state_dict().items():
        assert torch.equal(trainable.model.unet.state_dict()[name], value), name
    assert all(weight.requires_grad for weight in trainable.parameters())
    assert any("only the U-Net is read" in note for note in found.notes) == (where == "pipeline")


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
@pytest.mark.parametrize("rank", [0, 3])
def test_a_value_encoder_starts_with_the_tokens_of_the_one_in_the_folder(
    family: str, rank: int, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    model = request.getfixturevalue(f"{family}_folder")
    shaken(LivoTrainable(diffusion.load(model), leak_penalty=0, rank=rank)).save(tmp_path)
    if rank and family == "sd15":  # of another trainer, whose scale is not 1
        config = tmp_path / "value_encoder" / "adapter_config.json"
        config.write_text(json.dumps(json.loads(config.read_text()) | {"lora_alpha": 7, "use_rslora": True}))
    trainable, _ = began(model, tmp_path, *(["--encoder-rank", str(rank)] if rank else []), method="livo")
    loaded = diffusion.load(model)
    there = value_pipeline.load(tmp_path, loaded.text_encoders)
    with torch.no_grad():
        ours, theirs = (
            value_pipeline.value_tokens(encoders, loaded.tokenizers, PRINCIPLES, PROMPTS)
            for encoders in (trainable.encoders, there)
        )
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    plain = LivoTrainable(loaded, leak_penalty=0, rank=rank)
    assert [w.shape for w in trainable.parameters()] == [w.shape for w in plain.parameters()]


def changed(folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]], name: str = LORA) -> Path:
    tensors = change(load_file(folder / name))
    save_file({key: value.contiguous() for key, value in tensors.items()}, folder / name)
    return folder


def nan(tensors: dict[str, Any]) -> dict[str, Any]:
    return {name: value * torch.nan for name, value in tensors.items()}


def without_up_blocks(tensors: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in tensors.items() if "up_blocks" not in name}


def renamed(tensors: dict[str, Any]) -> dict[str, Any]:
    return {name.replace("attn1", "attn9"): value for name, value in tensors.items()}


def of_two_ranks(tensors: dict[str, Any]) -> dict[str, Any]:
    cut: Callable[[str, Any], Any] = lambda name, value: value[:2] if ".lora.down" in name else value[:, :2]  # noqa: E731
    return {name: cut(name, value) if "to_q" in name else value for name, value in tensors.items()}


@pytest.mark.parametrize(
    ("made", "more", "words"),
    [
        ({}, ["--lora-rank", "8"], "holds LoRA of rank 4, --lora-rank is 8: give --lora-rank 4"),
        ({}, [], "holds LoRA; dpo trains a whole U-Net here: give --lora-rank"),
        ({}, ["--lora-rank", "4", "--lora-targets", "transformer"], "layers of --lora-targets attention: give that"),
        ({"lora_targets": "transformer"}, ["--lora-rank", "4"], "layers of --lora-targets transformer: give that"),
        ({"change": nan}, ["--lora-rank", "4"], "holds NaN or infinite numbers"),
        ({"change": without_up_blocks}, ["--lora-rank", "4"], "missing (up_blocks.1.attentions.0"),
        ({"change": of_two_ranks}, ["--lora-rank", "4"], "holds LoRA of rank 2 and 4, --lora-rank is 4: give one"),
        ({"change": renamed}, ["--lora-rank", "4"], "do not fit"),
    ],
)  # fmt: skip
def test_lora_that_does_not_fit_is_one_line(
    made: dict[str, Any], more: list[str], words: str, sd15_folder: Path, tmp_path: Path
) -> None:
    change = made.pop("change", None)
    path = lora(sd15_folder, tmp_path / "lora", **made)
    if change:
        changed(path, change)
    with pytest.raises(UserError) as caught:
        began(sd15_folder, path, *more)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_lora_of_kohyas_scripts_with_projections_is_refused_by_their_names(sd15_folder: Path, tmp_path: Path) -> None:
    tensors = load_file(lora(sd15_folder, tmp_path / "lora", lora_targets="transformer") / KOHYA)
    for name in ("proj_in", "proj_out"):
        layer = f"lora_unet_down_blocks_0_attentions_0_{name}"
        tensors |= {f"{layer}.lora_down.weight": torch.ones(4, 16, 1, 1), f"{layer}.alpha": torch.tensor(4.0)}
        tensors[f"{layer}.lora_up.weight"] = torch.ones(16, 4, 1, 1)
    save_file(tensors, tmp_path / "kohya.safetensors")
    words = r"2 unexpected \(\S*proj_in, \S*proj_out\); give one of the layers of --lora-targets attention or transf"
    with pytest.raises(UserError, match=words):
        began(sd15_folder, tmp_path / "kohya.safetensors", "--lora-rank", "4", "--lora-targets", "transformer")


def test_lora_of_text_encoders_or_another_family_is_one_line(
    sd15_folder: Path, sdxl_folder: Path, tmp_path: Path
) -> None:
    for model, other in ((sd15_folder, sdxl_folder), (sdxl_folder, sd15_folder)):
        with pytest.raises(UserError, match="do not fit: .* give one that was trained on this model"):
            began(model, lora(other, tmp_path / other.name), "--lora-rank", "4")
    tensors = load_file(tmp_path / "sd15" / LORA)
    encoder = "text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_linear_layer"
    tensors |= {f"{encoder}.down.weight": torch.ones(4, 32), f"{encoder}.up.weight": torch.ones(32, 4)}
    save_file(tensors, tmp_path / "both.safetensors")
    with pytest.raises(UserError, match=r"of 1 layers of text encoders, too \(text_encoder\."):
        began(sd15_folder, tmp_path / "both.safetensors", "--lora-rank", "4")


def test_a_u_net_that_does_not_fit_is_one_line(sd15_folder: Path, sdxl_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the U-Net in .* do not fit"):
        began(sd15_folder, sdxl_folder)
    with pytest.raises(UserError, match="holds a whole U-Net; dpo trains LoRA here: give a LoRA file"):
        began(sd15_folder, sd15_folder, "--lora-rank", "2")
    with pytest.raises(UserError, match="holds a whole U-Net; livo trains a value encoder here"):
        began(sd15_folder, sd15_folder, method="livo")
    model = copy(sd15_folder, tmp_path)
    config = model / "scheduler" / "scheduler_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"prediction_type": "v_prediction"}))
    with pytest.raises(UserError, match="predicts 'v_prediction', that of .* 'epsilon'"):
        began(sd15_folder, model)
    changed(model / "unet", nan, "diffusion_pytorch_model.safetensors")
    with pytest.raises(UserError, match="NaN or infinite"):
        began(sd15_folder, model / "unet")


@pytest.mark.parametrize(
    ("held", "more", "words"),
    [
        (3, [], "a value encoder of LoRA of rank 3, --encoder-rank is 0: give --encoder-rank 3"),
        (3, ["--encoder-rank", "4"], "of rank 3, --encoder-rank is 4: give --encoder-rank 3"),
        (0, ["--encoder-rank", "4"], "a value encoder of all weights, --encoder-rank is 4: leave it out"),
    ],
)
def test_a_value_encoder_that_does_not_fit_is_one_line(
    held: int, more: list[str], words: str, sd15_folder: Path, sdxl_folder: Path, tmp_path: Path
) -> None:
    shaken(LivoTrainable(diffusion.load(sd15_folder), leak_penalty=0, rank=held)).save(tmp_path)
    with pytest.raises(UserError) as caught:
        began(sd15_folder, tmp_path, *more, method="livo")
    assert words in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(UserError, match="no value encoder for this model"):
        began(sdxl_folder, tmp_path, *more, method="livo")
    with pytest.raises(UserError, match="holds a value encoder; dpo trains LoRA here"):
        began(sd15_folder, tmp_path, "--lora-rank", "2")
    (weights,) = (tmp_path / "value_encoder").glob("*.safetensors")
    changed(weights.parent, nan, weights.name)
    with pytest.raises(UserError, match="not finite"):
        began(sd15_folder, tmp_path, *(["--encoder-rank", str(held)] if held else []), method="livo")


def _text(folder: Path) -> Path:
    (folder / "lora.safetensors").write_text("not weights, but long enough to hold a header of some kind")
    return folder / "lora.safetensors"


def _pickle(folder: Path) -> Path:
    torch.save({}, folder / "lora.pt")
    return folder / "lora.pt"


def _two(folder: Path) -> Path:
    for name in ("a", "b"):
        save_file({"x": torch.zeros(1)}, folder / f"{name}.safetensors")
    return folder


def _whole(folder: Path) -> Path:
    save_file({"model.diffusion_model.x": torch.zeros(1)}, folder / "civit.safetensors")
    return folder / "civit.safetensors"


def _unet_alone(folder: Path) -> Path:
    save_file({"conv_in.weight": torch.zeros(1)}, folder / "diffusion_pytorch_model.safetensors")
    return folder / "diffusion_pytorch_model.safetensors"


def _unfinished(folder: Path) -> Path:
    (folder / "checkpoints" / "step-00000004").mkdir(parents=True)
    return folder


def _peft_of_a_language_model(folder: Path) -> Path:
    (folder / "adapter_config.json").write_text("{}")
    save_file({"x": torch.zeros(1)}, folder / "adapter_model.safetensors")
    return folder


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: folder, "holds no weights: give what training/run.py wrote"),
        (lambda folder: folder / "absent", "there is no --init-from"),
        (_text, "is cut short or no safetensors file"),
        (lambda folder: _text(folder).parent, "is cut short or no safetensors file"),
        (_pickle, "is a pickle"),
        (_two, "holds 2 files of weights: name one of them"),
        (_whole, "holds no LoRA: whole weights are read from a folder"),
        (_whole, "a whole model in one file, of which StableDiffusionPipeline (or StableDiffusionXLPipeline).from_s"),
        (_unet_alone, "as save_pretrained writes it"),
        (
            lambda folder: Path("owner/name"),
            "are fetched first, by `hf download owner/name --local-dir FOLDER`",
        ),
        (_unfinished, "holds a run without a result yet"),
        (_peft_of_a_language_model, "holds a value encoder; dpo trains LoRA here"),
    ],
)
def test_what_is_no_start_at_all_is_one_line(
    make: Callable[[Path], Path], words: str, sd15_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as caught:
        began(sd15_folder, make(tmp_path), "--lora-rank", "4")
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_start_of_another_base_is_said(sd15_folder: Path, tmp_path: Path) -> None:
    path = lora(sd15_folder, tmp_path / "lora")
    facts = {"run": {"model": "some/other"}, "model_weights": "0123"}
    (path / "training.json").write_text(json.dumps(facts))
    _, found = began(sd15_folder, path / LORA, "--lora-rank", "4")
    assert any("was trained on 'some/other', whose weights were others" in note for note in found.notes)
    (path / "training.json").write_text("[]")
    _, found = began(sd15_folder, path, "--lora-rank", "4")
    assert found.notes == ()
