from __future__ import annotations

import copy as copying
import random
import re
from pathlib import Path
from typing import Any

import pytest
import shared_file
import torch
from misfits import Change, copy, without
from safetensors.torch import load_file, save_file

from datagen.errors import ModelError
from datagen.weights import adapters, pipelines
from training.models import diffusion
from training.trainables.unet import UNetTrainable

HALVES = 128  # two for each of 64 projections of the tiny SDXL's attention


@pytest.fixture(scope="module")
def loras(tmp_path_factory: pytest.TempPathFactory, sd15_folder: Path, sdxl_folder: Path) -> Path:
    """LoRA of both families as training writes it, with weights that change a picture."""
    folder = tmp_path_factory.mktemp("loras")
    for name, source in (("sd15", sd15_folder), ("sdxl", sdxl_folder)):
        trainable = UNetTrainable(diffusion.load(source), lora_rank=4, reference=False)
        torch.manual_seed(1)
        for weight in trainable.parameters():
            torch.nn.init.normal_(weight, std=0.1)
        trainable.save(folder / name)
    return folder


@pytest.fixture(scope="module")
def whole(sdxl_folder: Path) -> Any:
    return pipelines.load(sdxl_folder).model


@pytest.fixture
def pipe(whole: Any) -> Any:
    """An SDXL to put an adapter into."""
    parts = {name: copying.deepcopy(part) for name, part in whole.components.items()}
    return type(whole)(**parts, add_watermarker=False)


def kohya(tensors: dict[str, Any]) -> dict[str, Any]:
    """The names of other trainers: the module's with underscores, and a scale of its own."""
    made = {}
    for name, value in tensors.items():
        module, _, half = name.removeprefix("unet.").partition(".lora.")
        flat = "lora_unet_" + module.replace(".", "_")
        made[f"{flat}.lora_{half}"] = value
        made[f"{flat}.alpha"] = torch.tensor(4.0)
    return made


def effect(pipe: Any) -> dict[str, Any]:
    """The weights that a LoRA comes down to."""
    pipe.fuse_lora()
    return {n.replace(".base_layer", ""): v for n, v in pipe.unet.state_dict().items() if ".lora_" not in n}


@pytest.mark.parametrize("form", ["folder", "file", "kohya"])
def test_a_lora_has_the_effect_that_stock_diffusers_gives_it(
    form: str, loras: Path, pipe: Any, tmp_path: Path
) -> None:
    path = loras / "sdxl"
    stock = type(pipe)(**{n: copying.deepcopy(p) for n, p in pipe.components.items()}, add_watermarker=False)
    stock.load_lora_weights(str(path))
    if form != "folder":
        path = path / adapters.LORA
    if form == "kohya":
        save_file(kohya(load_file(path)), tmp_path / "lora.safetensors")
        path = tmp_path / "lora.safetensors"
    plain = {name: value.clone() for name, value in pipe.unet.state_dict().items()}
    assert adapters.load_lora(pipe, path) == ()
    changed, expected = effect(pipe), effect(stock)
    assert sum(not torch.equal(value, plain[name]) for name, value in changed.items()) == HALVES // 2
    for name, value in changed.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-6)


def test_what_a_file_says_of_the_u_net_is_read_and_nothing_stays(loras: Path, pipe: Any) -> None:
    plain = {name: value.clone() for name, value in pipe.unet.state_dict().items()}
    factors, notes = adapters.read_lora(pipe.to(torch.bfloat16), loras / "sdxl")
    assert notes == () and len(factors) == HALVES // 2
    written = load_file(loras / "sdxl" / adapters.LORA)
    for layer, (down, up) in factors.items():  # in the file's precision, whatever the U-Net's
        assert torch.equal(down, written[f"unet.{layer}.lora.down.weight"])
        assert torch.equal(up, written[f"unet.{layer}.lora.up.weight"])  # alpha is the rank here
    assert pipe.unet.state_dict().keys() == plain.keys() and not getattr(pipe.unet, "peft_config", None)


def test_the_scale_of_a_file_is_multiplied_in(loras: Path, pipe: Any, tmp_path: Path) -> None:
    tensors = kohya(load_file(loras / "sdxl" / adapters.LORA))
    save_file(
        {name: torch.tensor(10.0) if name.endswith("alpha") else value for name, value in tensors.items()},
        tmp_path / "x.safetensors",
    )
    plain, _ = adapters.read_lora(pipe, loras / "sdxl")
    scaled, _ = adapters.read_lora(pipe, tmp_path / "x.safetensors")
    for layer, (down, up) in scaled.items():
        assert torch.equal(down, plain[layer][0])
        torch.testing.assert_close(up, plain[layer][1] * 10 / 4)


def swapped(old: str, new: str) -> Change:
    return lambda tensors: {name.replace(old, new): value for name, value in tensors.items()}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (swapped("unet.", "transformer."), f"{HALVES} unexpected (transformer."),
        (swapped("unet.", ""), f"{HALVES} unexpected ("),
        (swapped("unet.", "base_model.model.unet."), f"{HALVES} unexpected (base_model.model.unet."),
        (swapped("attn2", "attn9"), f"{HALVES // 2} unexpected (unet.down_blocks.1"),
        (without("up_blocks"), f"{HALVES // 2} missing (unet.up_blocks."),
        (without("lora.down"), f"{HALVES // 2} missing ("),
        (without("mid_block.attentions.0.transformer_blocks.0.attn1.to_q.lora.up"), "1 missing ("),
        (lambda tensors: {"x": torch.zeros(1)}, "1 unexpected (x)"),
        (lambda tensors: {n: v[:2] if "down" in n else v for n, v in tensors.items()}, "64 of another shape"),
        (lambda tensors: {n: v * torch.nan for n, v in tensors.items()}, "holds NaN or infinite numbers: 128 tensors"),
        (lambda tensors: tensors | {"text_encoder_3.x.lora.up.weight": torch.zeros(4, 4)}, "1 unexpected"),
        (lambda tensors: tensors | {"unet.conv_in.dora_scale": torch.zeros(1)}, "is a DoRA"),
        (swapped("lora.down", "lokr_w1"), "unexpected"),
        (lambda tensors: {n: v.to(torch.int8) for n, v in tensors.items()}, "holds I8 numbers"),
    ],
)
def test_a_lora_that_does_not_fit_is_refused(
    change: Change, words: str, loras: Path, pipe: Any, tmp_path: Path
) -> None:
    from safetensors import safe_open

    folder = copy(loras / "sdxl", tmp_path)
    with safe_open(folder / adapters.LORA, "pt") as stream:
        metadata = stream.metadata()
    save_file(change(load_file(folder / adapters.LORA)), tmp_path / "hurt.safetensors", metadata=metadata)
    plain = {name: value.clone() for name, value in pipe.unet.state_dict().items()}
    with pytest.raises(ModelError) as caught:
        adapters.load_lora(pipe, tmp_path / "hurt.safetensors")
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert pipe.unet.state_dict().keys() == plain.keys()  # nothing of it was put in


@pytest.mark.parametrize("alpha", [float("nan"), float("inf")])
def test_an_alpha_that_is_no_number_is_refused(alpha: float, loras: Path, pipe: Any, tmp_path: Path) -> None:
    tensors = kohya(load_file(loras / "sdxl" / adapters.LORA))
    tensors |= {name: torch.tensor(alpha) for name in tensors if name.endswith("to_q.alpha")}
    save_file(tensors, tmp_path / "x.safetensors")
    with pytest.raises(ModelError, match="an alpha that is not finite"):
        adapters.load_lora(pipe, tmp_path / "x.safetensors")


@pytest.mark.parametrize("how", ["another", "none"])
def test_every_layer_has_its_own_alpha(how: str, loras: Path, pipe: Any, tmp_path: Path) -> None:
    """Stock diffusers gives all layers one scale, whatever theirs are."""
    tensors = kohya(load_file(loras / "sdxl" / adapters.LORA))
    for name in [name for name in tensors if name.endswith("alpha")]:
        own = name.endswith("to_q.alpha")
        tensors[name] = torch.tensor(10.0 if own or how == "none" else 4.0)
        if own and how == "none":  # which means that it is the rank
            del tensors[name]
    save_file(tensors, tmp_path / "x.safetensors")
    plain, _ = adapters.read_lora(pipe, loras / "sdxl")
    scaled, notes = adapters.read_lora(pipe, tmp_path / "x.safetensors")
    assert [note for note in notes if "an alpha of their own" in note]
    for layer, (_, up) in scaled.items():
        expected = 10 / 4 if layer.endswith("to_q") == (how == "another") else 1
        torch.testing.assert_close(up, plain[layer][1] * expected)


@pytest.mark.parametrize(
    "said",
    ["{bad", "[]", "3", '{"unet.target_modules": 3, "unet.r": "x"}', '{"unet.r": 4, "unet.lora_alpha": "x"}',
     '{"unet.target_modules": [1], "unet.r": 4, "unet.lora_alpha": NaN}'],
)  # fmt: skip
def test_what_a_file_says_of_itself_may_be_nonsense(said: str, loras: Path, pipe: Any, tmp_path: Path) -> None:
    tensors = load_file(loras / "sdxl" / adapters.LORA)
    save_file(tensors, tmp_path / "x.safetensors", {"lora_adapter_metadata": said})
    with pytest.raises(ModelError) as caught:
        adapters.load_lora(pipe, tmp_path / "x.safetensors")
    assert "x.safetensors" in str(caught.value) and "\n" not in str(caught.value)


def test_a_lora_of_another_family_is_refused(loras: Path, pipe: Any, sd15_folder: Path) -> None:
    for target, other in ((pipe, "sd15"), (pipelines.load(sd15_folder).model, "sdxl")):
        with pytest.raises(ModelError, match="do not fit: .* give one that was trained on this model") as caught:
            adapters.load_lora(target, loras / other)
        assert "(rank 4, " in str(caught.value) and "attn1.to_q" in str(caught.value)
        words = (
            "its texts are 32 wide, this model's 80" if other == "sd15" else "its texts are 80 wide, this model's 32"
        )
        assert str(caught.value).endswith(words)


def test_a_lora_of_fewer_layers_whose_file_names_none_is_put_in_and_said(
    loras: Path, pipe: Any, tmp_path: Path
) -> None:
    path = tmp_path / "lora.safetensors"
    save_file(without("up_blocks")(load_file(loras / "sdxl" / adapters.LORA)), path)  # nothing is said of its layers
    (note,) = adapters.load_lora(pipe, path)
    assert "adapts 32 of the U-Net's 64 layers of its kinds" in note


def test_a_pickle_is_refused(pipe: Any, tmp_path: Path) -> None:
    torch.save({"unet.x": torch.zeros(1)}, tmp_path / "lora.bin")
    with pytest.raises(ModelError, match="is a pickle"):
        adapters.load_lora(pipe, tmp_path / "lora.bin")


def test_a_u_net_takes_the_place_of_one_of_its_shapes_only(pipe: Any, sdxl_folder: Path, sd15_folder: Path) -> None:
    found = adapters.load_unet(pipe, sdxl_folder / "unet")
    for name, value in pipe.unet.state_dict().items():
        assert torch.equal(value, found.state_dict()[name])
    with pytest.raises(ModelError, match="the U-Net in .* do not fit: .* give one that was trained on this model"):
        adapters.load_unet(pipe, sd15_folder / "unet")


@pytest.mark.parametrize("alphas", [(8.0, 8.0), (8.0, 2.0)])
def test_alphas_of_text_encoders_count_as_well(alphas: tuple[float, float], pipe: Any, tmp_path: Path) -> None:
    tensors, layer = {}, "text_model_encoder_layers_0_{}"
    for te, width in (("te1", 32), ("te2", 48)):
        for name, alpha in zip(("self_attn_q_proj", "self_attn_out_proj"), alphas, strict=True):
            flat = f"lora_{te}_{layer.format(name)}"
            tensors |= {f"{flat}.lora_down.weight": torch.ones(4, width), f"{flat}.alpha": torch.tensor(alpha)}
            tensors[f"{flat}.lora_up.weight"] = torch.ones(width, 4)
    save_file(tensors, tmp_path / "x.safetensors")
    adapters.load_lora(pipe, tmp_path / "x.safetensors")
    for encoder in (pipe.text_encoder, pipe.text_encoder_2):
        layers = {n: m for n, m in encoder.named_modules() if hasattr(m, "lora_A")}
        scales = {n.rpartition(".")[2]: next(iter(m.scaling.values())) for n, m in layers.items()}
        assert scales == {"q_proj": alphas[0] / 4, "out_proj": alphas[1] / 4}


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
@pytest.mark.parametrize("alphas", ["none", "equal", "of their own", "of some"])
def test_kohyas_files_with_text_encoders_add_alpha_by_rank_times_their_product(
    family: str, alphas: str, tmp_path: Path
) -> None:
    pipe, draw = shared_file.pipeline(family), random.Random(0)
    names = {"unet": "lora_unet_", "text_encoder": "lora_te_" if family == "sd1" else "lora_te1_"}
    names |= {"text_encoder_2": "lora_te2_"} if family == "sdxl" else {}
    adapted = r".*(attn\d\.to_(q|k|v|out\.0)|self_attn\.\w+_proj|fc[12])"
    tensors, expected = {}, {}
    for part in names:
        for name, layer in getattr(pipe, part).named_modules():
            if not re.fullmatch(adapted, name):
                continue
            module = name if part == "unet" or name.startswith("text_model.") else f"text_model.{name}"
            flat = names[part] + module.replace(".", "_")
            down, up = torch.randn(4, layer.in_features), torch.randn(layer.out_features, 4)
            tensors |= {f"{flat}.lora_down.weight": down, f"{flat}.lora_up.weight": up}
            alpha = {"none": 4.0, "equal": 2.0}.get(alphas, draw.choice([1.0, 2.0, 8.0]))
            if alphas == "none" or (alphas == "of some" and draw.random() < 0.5):
                alpha = 4.0  # the rank: a scale of 1
            else:
                tensors[f"{flat}.alpha"] = torch.tensor(alpha)
            expected[part, name] = layer.weight + alpha / 4 * up @ down
    save_file(tensors, tmp_path / "x.safetensors")
    adapters.fuse_lora(pipe, tmp_path / "x.safetensors")
    assert {part for part, _ in expected} == set(names)
    for (part, name), weight in expected.items():
        torch.testing.assert_close(getattr(pipe, part).get_submodule(name).weight, weight, rtol=1e-4, atol=1e-4)
