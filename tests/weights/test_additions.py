from __future__ import annotations

import copy as copying
import shutil
from pathlib import Path
from typing import Any

import pytest
import shared_file
import torch
from misfits import rewrite
from safetensors.torch import load_file, save_file

from datagen.errors import ModelError
from datagen.weights import additions, held, identity, pipelines
from training.models import diffusion
from training.trainables.unet import UNetTrainable

Tensors = dict[str, Any]


def add(pipe: Any, given: str) -> tuple[str, tuple[str, ...]]:
    found = additions.find(given)
    return found.said, additions.add_all(pipe, [found])[0]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, sd15_folder: Path, sdxl_folder: Path) -> Path:
    """LoRA of both families as training writes it, two of SD 1.5's, with weights that change a picture."""
    folder = tmp_path_factory.mktemp("loras")
    for seed, (name, source) in enumerate((("one", sd15_folder), ("two", sd15_folder), ("xl", sdxl_folder))):
        trainable = UNetTrainable(diffusion.load(source), lora_rank=4, reference=False)
        torch.manual_seed(seed)
        for weight in trainable.parameters():
            torch.nn.init.normal_(weight, std=0.1)
        trainable.save(folder / name)
    return folder


@pytest.fixture(scope="module")
def whole(sd15_folder: Path) -> Any:
    return pipelines.load(sd15_folder).model


@pytest.fixture
def pipe(whole: Any) -> Any:
    parts = {name: copying.deepcopy(part) for name, part in whole.components.items()}
    return type(whole)(**parts, requires_safety_checker=False)


def lora(folder: Path) -> Path:
    return next(folder.glob("*.safetensors"))


def kohya(tensors: Tensors) -> Tensors:
    """The names of other trainers, with a scale of their own."""
    made: Tensors = {}
    for name, value in tensors.items():
        is_first = "lora.down" in name or "lora_A" in name
        module = name.removeprefix("unet.").replace(".lora_A", ".lora").replace(".lora_B", ".lora").split(".lora")[0]
        flat = "lora_unet_" + module.replace(".", "_")
        made[f"{flat}.lora_{'down' if is_first else 'up'}.weight"] = value
        made[f"{flat}.alpha"] = torch.tensor(2.0)
    return made


def change(pipe: Any, whole: Any) -> Tensors:
    before = whole.unet.state_dict()
    return {name: value - before[name] for name, value in pipe.unet.state_dict().items()}


def stock(whole: Any, path: Path, scale: float = 1.0) -> Any:
    """As diffusers itself puts a LoRA in."""
    parts = {name: copying.deepcopy(part) for name, part in whole.components.items()}
    made = type(whole)(**parts, requires_safety_checker=False)
    made.load_lora_weights(str(path.parent), weight_name=path.name)
    made.fuse_lora(lora_scale=scale)
    made.unload_lora_weights()
    return made


@pytest.mark.parametrize("scale", [1.0, 0.5, -1.0, 0.0])
def test_a_lora_is_added_to_the_weights_as_often_as_asked_for(
    scale: float, pipe: Any, whole: Any, written: Path
) -> None:
    given = str(written / "one") + ("" if scale == 1 else f"@{scale:g}")
    said, notes = add(pipe, given)
    assert said == f"one@{identity.adapter(lora(written / 'one'))}" + ("" if scale == 1 else f" × {scale:g}")
    assert notes == () and not hasattr(pipe.unet, "peft_config")
    expected = stock(whole, lora(written / "one"), scale).unet.state_dict()
    for name, value in pipe.unet.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-6)
    assert any(value.abs().max() > 0.01 for value in change(pipe, whole).values()) is (scale != 0)


def test_what_was_made_for_another_model_is_told_without_any_weights_of_this_one(
    written: Path, sd15_folder: Path, sdxl_folder: Path, tmp_path: Path
) -> None:
    for folder, fits, other in ((sd15_folder, "one", "xl"), (sdxl_folder, "xl", "one")):
        sketch, whole = pipelines.sketch(pipelines.read(folder)), pipelines.load(folder).model
        assert {value.device.type for value in sketch.unet.parameters()} == {"meta"}
        additions.check_all(sketch, [additions.find(str(written / fits))])
        wrong, said = [additions.find(str(written / other))], []
        for call, pipe in ((additions.check_all, sketch), (additions.add_all, whole)):
            with pytest.raises(ModelError) as caught:
                call(pipe, wrong)
            said.append(str(caught.value))
        assert said[0] == said[1] and "do not fit" in said[0]
    shutil.copytree(sd15_folder / "unet", tmp_path / "trained" / "unet")
    with pytest.raises(ModelError, match="give one that was trained on this model"):
        additions.check_all(sketch, [additions.find(str(tmp_path / "trained"))])
    shutil.copytree(sd15_folder / "text_encoder", tmp_path / "livo" / "value_encoder")
    alone = pipelines.sketch(pipelines.read(sd15_folder))
    additions.check_all(alone, [additions.find(str(tmp_path / "livo"))])
    with pytest.raises(ModelError, match="holds 1 value encoder .* this model has 2 text encoders"):
        additions.check_all(sketch, [additions.find(str(tmp_path / "livo"))])


def test_several_are_added_one_after_the_other(pipe: Any, whole: Any, written: Path) -> None:
    for given in ("one@0.5", "two"):
        add(pipe, f"{written}/{given}")
    halves = [change(stock(whole, lora(written / name)), whole) for name in ("one", "two")]
    for name, value in change(pipe, whole).items():
        torch.testing.assert_close(value, 0.5 * halves[0][name] + halves[1][name], rtol=1e-4, atol=1e-5)


def test_a_file_of_another_trainer_counts_with_its_own_scale(
    pipe: Any, whole: Any, written: Path, tmp_path: Path
) -> None:
    path = tmp_path / "style@v2.safetensors"
    save_file(kohya(load_file(lora(written / "one"))), path)
    said, _ = add(pipe, str(path))
    assert said.startswith("style@v2@")
    plain = change(stock(whole, lora(written / "one")), whole)
    for name, value in change(pipe, whole).items():
        torch.testing.assert_close(value, plain[name] / 2, rtol=1e-4, atol=1e-5)


def test_a_whole_unet_takes_the_place_of_the_models_and_has_no_scale(
    pipe: Any, sd15_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(sd15_folder / "unet", tmp_path / "trained" / "unet")
    rewrite(tmp_path / "trained" / "unet", lambda tensors: {name: value + 1 for name, value in tensors.items()})
    said, _ = add(pipe, str(tmp_path / "trained"))
    assert said == f"trained@{identity.network(tmp_path / 'trained' / 'unet')}"
    assert torch.equal(pipe.unet.conv_in.bias, pipelines.load(sd15_folder).model.unet.conv_in.bias + 1)
    with pytest.raises(ModelError, match="has no scale: leave @0.5 out"):
        add(pipe, f"{tmp_path / 'trained'}@0.5")


def test_weights_that_are_held_in_half_precision_are_wide_where_something_was_added(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held, "LARGE", 0)
    shared_file.pipeline("sd1", torch.float16).save_pretrained(tmp_path / "half")
    plain, half = (pipelines.load(tmp_path / "half", hold=hold).model for hold in (False, True))
    name = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    torch.manual_seed(0)
    factors = {f"{name}.lora_A.weight": torch.randn(2, 64), f"{name}.lora_B.weight": torch.randn(64, 2)}
    save_file(factors, tmp_path / "lora.safetensors")
    for one in (plain, half):
        add(one, str(tmp_path / "lora.safetensors"))
    layer = half.unet.get_submodule(name.removeprefix("unet."))
    assert layer.weight.dtype == torch.float32
    assert torch.equal(layer.weight, plain.unet.get_submodule(name.removeprefix("unet.")).weight)
    assert half.unet.conv_in.weight.dtype == torch.float16
    given = (torch.zeros(1, 4, 16, 16), 3, torch.ones(1, 77, 64))
    assert torch.equal(half.unet(*given).sample, plain.unet(*given).sample)


def make(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


@pytest.mark.parametrize(
    ("names", "given", "words"),
    [
        ((), "nowhere", "there is no adapter"),
        ((), "some-one/a-lora", "there is no adapter"),
        (("x/model_index.json",), "x", "is a whole model: name it as model"),
        (("x/checkpoints/1/state",), "x", "holds a training without a result yet"),
        (("x/a.safetensors", "x/b.safetensors"), "x", "holds a.safetensors, b.safetensors: name one of them"),
        (("x/notes.txt",), "x", "holds no adapter: give a LoRA file"),
        (("x.pt",), "x.pt", "is a pickle"),
        (("x.safetensors",), "x.safetensors@nan", "is no number"),
        (("x.safetensors",), "x.safetensors", "is cut short or no safetensors file"),
    ],
)
def test_what_is_no_adapter_is_told_in_one_line(
    names: tuple[str, ...], given: str, words: str, pipe: Any, tmp_path: Path
) -> None:
    make(tmp_path, *names)
    with pytest.raises(ModelError) as caught:
        add(pipe, str(tmp_path / given))
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_lora_is_added_to_the_unet_that_takes_the_models_place_whichever_is_named_first(
    whole: Any, written: Path, tmp_path: Path, sd15_folder: Path
) -> None:
    shutil.copytree(sd15_folder / "unet", tmp_path / "trained" / "unet")
    rewrite(tmp_path / "trained" / "unet", lambda tensors: {name: value + 1 for name, value in tensors.items()})
    made = []
    for given in (
        [str(written / "one"), str(tmp_path / "trained")],
        [str(tmp_path / "trained"), str(written / "one")],
    ):
        parts = {name: copying.deepcopy(part) for name, part in whole.components.items()}
        made.append(type(whole)(**parts, requires_safety_checker=False))
        additions.add_all(made[-1], additions.find_all(given))
    first, second = (pipe.unet.state_dict() for pipe in made)
    plain = change(stock(whole, lora(written / "one")), whole)
    for name, value in first.items():
        assert torch.equal(value, second[name])
        torch.testing.assert_close(value, whole.unet.state_dict()[name] + 1 + plain[name], rtol=1e-4, atol=1e-4)


def test_two_unets_are_refused(tmp_path: Path, sd15_folder: Path) -> None:
    for name in ("a", "b"):
        shutil.copytree(sd15_folder / "unet", tmp_path / name / "unet")
    with pytest.raises(ModelError, match="a and b are each a whole U-Net, and a model has one"):
        additions.find_all([str(tmp_path / "a"), str(tmp_path / "b")])


def test_one_of_another_base_is_refused_and_leaves_the_model_as_it_was(pipe: Any, whole: Any, written: Path) -> None:
    with pytest.raises(ModelError) as caught:
        add(pipe, str(written / "xl"))
    assert "give one that was trained on this model" in str(caught.value) and "\n" not in str(caught.value)
    assert all(value.abs().max() == 0 for value in change(pipe, whole).values())
