from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from misfits import Change, copy, prefixed, reset, rewrite, without
from safetensors.torch import load_file, save_file

from datagen import generators
from datagen.errors import ModelError
from datagen.weights import parts, pipelines

DIFFUSERS = "diffusion_pytorch_model"


def refused(folder: Path) -> str:
    """The one line that a folder is refused with."""
    with pytest.raises(ModelError) as caught:
        pipelines.load(folder)
    message = str(caught.value)
    assert "\n" not in message
    return message


def states(pipeline: Any) -> dict[str, Any]:
    names = [name for name in pipelines.NETWORKS if getattr(pipeline, name, None) is not None]
    return {f"{name}.{key}": value for name in names for key, value in getattr(pipeline, name).state_dict().items()}


@pytest.mark.parametrize("name", ["sd15_folder", "sdxl_folder"])
def test_a_pipeline_is_the_stock_one(name: str, request: pytest.FixtureRequest) -> None:
    from diffusers import DiffusionPipeline

    folder = request.getfixturevalue(name)
    ours, stock = pipelines.load(folder), DiffusionPipeline.from_pretrained(folder)
    assert ours.notes == () and type(ours.model) is type(stock)
    assert ours.model.scheduler.config == stock.scheduler.config
    expected = states(stock)
    assert states(ours.model).keys() == expected.keys()
    for key, value in states(ours.model).items():
        assert torch.equal(value, expected[key]), key
    assert ours.model.tokenizer("a chef").input_ids == stock.tokenizer("a chef").input_ids
    if name == "sdxl_folder":
        assert ours.model.config.force_zeros_for_empty_prompt is stock.config.force_zeros_for_empty_prompt


@pytest.mark.parametrize(
    ("model", "part", "word"),
    [
        ("sd15", "text_encoder", "layers.1."),
        ("sd15", "text_encoder", "final_layer_norm"),
        ("sd15", "text_encoder", "token_embedding"),
        ("sd15", "unet", "mid_block"),
        ("sd15", "unet", "conv_out"),
        ("sd15", "vae", "encoder.conv_out"),
        ("sd15", "vae", "post_quant_conv"),
        ("sdxl", "text_encoder_2", "text_projection"),
        ("sdxl", "unet", "add_embedding"),
    ],
)
def test_weights_that_lack_tensors_are_refused_with_their_count(
    model: str, part: str, word: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = copy(request.getfixturevalue(f"{model}_folder"), tmp_path)
    names = load_file(next((folder / part).glob("*.safetensors"))).keys()
    gone = sorted(name for name in names if word in name)
    rewrite(folder / part, without(word))
    message = refused(folder)
    assert f"the weights of {part} in {folder} do not fit: {len(gone)} missing (" in message
    assert gone[0].removeprefix("text_model.") in message


@pytest.mark.parametrize("part", ["text_encoder", "unet", "vae"])
@pytest.mark.parametrize("prefix", ["module.", "model.diffusion_model.", "cond_stage_model.transformer.", "x."])
def test_weights_of_other_names_are_refused_and_the_prefix_told(
    part: str, prefix: str, tmp_path: Path, sd15_folder: Path
) -> None:
    folder = copy(sd15_folder, tmp_path)
    count = rewrite(folder / part, prefixed(prefix))
    message = refused(folder)
    assert f"{count} missing (" in message and f"{count} unexpected (" in message
    assert f"the file's names begin with '{prefix}'" in message


def renamed(old: str, new: str) -> Change:
    return lambda tensors: {name.replace(old, new): value for name, value in tensors.items()}


@pytest.mark.parametrize(
    ("part", "change", "words"),
    [
        ("text_encoder", renamed("layers", "resblocks"), "48 missing"),
        ("text_encoder", lambda tensors: {"x": torch.zeros(1)}, "52 missing"),
        ("unet", lambda tensors: tensors | {"lora.x": torch.zeros(3)}, "1 unexpected (lora.x)"),
        ("vae", lambda tensors: tensors | {"loss.logvar": torch.zeros(())}, "1 unexpected (loss.logvar)"),
        (
            "text_encoder",
            lambda tensors: {name: value[..., :24] for name, value in tensors.items()},
            "of another shape (embeddings.position_embedding.weight: [77, 24] in the file, [77, 32] in the model",
        ),
        (
            "unet",
            lambda tensors: tensors | {"conv_out.bias": torch.zeros(5)},
            "1 of another shape (conv_out.bias: [5] in the file, [4] in the model)",
        ),
        ("unet", lambda tensors: tensors | {"conv_out.bias": torch.full((4,), torch.nan)}, "hold NaN or infinite"),
        ("vae", lambda tensors: tensors | {"quant_conv.bias": torch.full((8,), torch.inf)}, "hold NaN or infinite"),
        ("unet", lambda tensors: {n: v.to(torch.int8) for n, v in tensors.items()}, "holds I8 numbers"),
        ("unet", lambda tensors: {n: v.to(torch.float8_e4m3fn) for n, v in tensors.items()}, "holds F8_E4M3 numbers"),
    ],
)
def test_weights_that_are_others_are_refused(
    part: str, change: Change, words: str, tmp_path: Path, sd15_folder: Path
) -> None:
    folder = copy(sd15_folder, tmp_path)
    rewrite(folder / part, change)
    assert words in refused(folder)


def test_weights_that_overflow_in_half_precision_are_refused(tmp_path: Path, sd15_folder: Path) -> None:
    folder = copy(sd15_folder, tmp_path)
    rewrite(folder / "vae", lambda tensors: tensors | {"quant_conv.bias": torch.full((8,), 1e6)})
    assert pipelines.load(folder).notes == ()
    with pytest.raises(ModelError, match=r"NaN or infinite numbers in float16: 1 tensors \(quant_conv.bias\)"):
        pipelines.load(folder, dtype=torch.float16)


def test_names_of_old_versions_are_read_as_they_were_meant(tmp_path: Path, sd15_folder: Path) -> None:
    folder = copy(sd15_folder, tmp_path)
    expected = states(pipelines.load(sd15_folder).model)
    positions = {"text_model.embeddings.position_ids": torch.arange(77)[None]}
    rewrite(
        folder / "text_encoder",
        lambda tensors: {f"text_model.{n.removeprefix('text_model.')}": v for n, v in tensors.items()} | positions,
    )
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    rewrite(
        folder / "vae",
        lambda tensors: {re.sub(r"to_q|to_k|to_v|to_out\.0", lambda m: old[m[0]], n): v for n, v in tensors.items()},
    )
    found = pipelines.load(folder)
    assert found.notes == ()
    assert all(torch.equal(value, expected[key]) for key, value in states(found.model).items())


def test_fewer_layers_than_the_file_holds_are_allowed_and_said(tmp_path: Path, sd15_folder: Path) -> None:
    from transformers import CLIPTextModel

    folder = copy(sd15_folder, tmp_path)
    reset(folder / "text_encoder" / "config.json", num_hidden_layers=2)
    found = pipelines.load(folder)
    assert found.notes == (f"text_encoder in {folder} has 2 layers; its file holds 1 more, which are not read",)
    ids = torch.arange(77)[None]
    full = CLIPTextModel.from_pretrained(sd15_folder / "text_encoder")
    wanted = full(ids, output_hidden_states=True).hidden_states[2]
    got = found.model.text_encoder(ids, output_hidden_states=True).hidden_states[2]
    assert torch.equal(got, wanted)


def test_more_layers_than_the_file_holds_are_refused(tmp_path: Path, sd15_folder: Path) -> None:
    folder = copy(sd15_folder, tmp_path)
    reset(folder / "text_encoder" / "config.json", num_hidden_layers=5)
    assert "32 missing (encoder.layers.3.layer_norm1.bias" in refused(folder)


def test_half_precision_alone_is_read_and_said(tmp_path: Path, sd15_folder: Path) -> None:
    from diffusers import DiffusionPipeline

    DiffusionPipeline.from_pretrained(sd15_folder).to(dtype=torch.float16).save_pretrained(
        tmp_path / "half", variant="fp16"
    )
    found = pipelines.load(tmp_path / "half")
    assert found.notes == (
        f"text_encoder, vae, unet of {tmp_path / 'half'}: read from the variant fp16, as there is no other",
    )
    expected = states(pipelines.load(sd15_folder).model)
    for key, value in states(found.model).items():
        assert value.dtype == torch.float32 and torch.equal(value, expected[key].half().float()), key


def test_shards_are_read_and_one_that_is_missing_is_named(tmp_path: Path, sd15_folder: Path) -> None:
    from diffusers import DiffusionPipeline

    folder = tmp_path / "sharded"
    DiffusionPipeline.from_pretrained(sd15_folder).save_pretrained(folder, max_shard_size="100KB")
    expected = states(pipelines.load(sd15_folder).model)
    assert all(torch.equal(value, expected[key]) for key, value in states(pipelines.load(folder).model).items())
    shard = min((folder / "unet").glob("*-of-*.safetensors"))
    shard.unlink()
    assert f"lacks {shard.name}, 1 of " in refused(folder)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def behead(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def point(path: Path) -> None:
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")


def pickle(path: Path) -> None:
    torch.save(load_file(path), path.with_suffix(".bin"))
    path.unlink()


def disguise(path: Path) -> None:
    tensors = {name: value.clone() for name, value in load_file(path).items()}  # of the file itself no page stays
    torch.save(tensors, path)


def rename(path: Path) -> None:
    path.rename(path.with_name("unet_final.safetensors"))


def double(path: Path) -> None:
    path.with_name(f"{DIFFUSERS}.safetensors.index.json").write_text('{"weight_map": {"a": "b.safetensors"}}')


def choose(path: Path) -> None:
    for variant in ("fp16", "ema"):
        save_file(load_file(path), path.with_name(f"{DIFFUSERS}.{variant}.safetensors"))
    path.unlink()


@pytest.mark.parametrize(
    ("hurt", "words"),
    [
        (truncate, "is cut short or damaged"),
        (behead, "is cut short or no safetensors file"),
        (empty, "is empty"),
        (point, "run `git lfs pull`"),
        (pickle, "a pickle can run code and is not read"),
        (disguise, "is cut short or no safetensors file"),
        (rename, "has unet_final.safetensors; weights are expected in"),
        (double, "which may be different weights: keep one of them"),
        (choose, "has weights in ema, fp16 and none without a variant"),
        (Path.unlink, "has no weights"),
    ],
)
def test_files_that_are_no_weights_are_refused_before_any_are_read(
    hurt: Callable[[Path], None], words: str, tmp_path: Path, sd15_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copy(sd15_folder, tmp_path)
    hurt(folder / "unet" / f"{DIFFUSERS}.safetensors")
    monkeypatch.setattr(parts, "load", None)
    assert words in refused(folder)


@pytest.mark.parametrize(
    ("model", "part", "values", "words"),
    [
        ("sd15", "unet", {"in_channels": 9}, "reads 9 channels and gives 4, the VAE's latents have 4"),
        ("sd15", "unet", {"in_channels": 8}, "reads 8 channels"),
        ("sd15", "unet", {"in_channels": 7, "num_class_embeds": 1000}, "reads 7 channels"),
        ("sd15", "unet", {"out_channels": 8}, "gives 8"),
        ("sd15", "vae", {"latent_channels": 16}, "the VAE's latents have 16"),
        ("sd15", "unet", {"class_embed_type": "timestep"}, "reads classes besides text"),
        ("sd15", "unet", {"num_class_embeds": 10}, "reads classes besides text"),
        ("sd15", "unet", {"encoder_hid_dim_type": "ip_image_proj"}, "reads images"),
        ("sd15", "unet", {"addition_embed_type": "text_time"}, "reads text_time besides the text"),
        (
            "sd15",
            "unet",
            {"cross_attention_dim": 1024},
            "width 1024, the text encoder beside it gives 32",
        ),
        ("sdxl", "unet", {"addition_embed_type": None}, "reads nothing besides the text"),
        ("sdxl", "unet", {"projection_class_embeddings_input_dim": 88}, "a refiner is not accepted"),
        ("sdxl", "text_encoder_2", {"hidden_size": 32}, "the text encoders beside it give 64"),
        ("sd15", "vae", {"latents_mean": [0.0] * 4, "latents_std": [1.0] * 4}, "has latents_mean and latents_std"),
        ("sd15", "vae", {"shift_factor": 0.1}, "has shift_factor"),
        ("sdxl", "vae", {"latents_mean": [0.0] * 4}, "only one of latents_mean and latents_std"),
    ],
)
def test_parts_that_do_not_fit_together_are_refused_before_any_weights_are_read(
    model: str,
    part: str,
    values: dict[str, Any],
    words: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = copy(request.getfixturevalue(f"{model}_folder"), tmp_path)
    reset(folder / part / "config.json", **values)
    monkeypatch.setattr(parts, "load", None)
    assert words in refused(folder)


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("model_index.json", '{"_class_name": "FluxPipeline"}', "is a FluxPipeline"),
        ("model_index.json", "{}", "is a None"),
        ("model_index.json", "[1]", "is not an object of JSON"),
        ("model_index.json", "{", "is not JSON"),
        ("unet/config.json", "\x00", "is not JSON"),
        ("unet/config.json", None, "cannot be read"),
        (
            "vae/config.json",
            '{"_class_name": "AutoencoderTiny"}',
            "holds a AutoencoderTiny; AutoencoderKL is",
        ),
        ("scheduler/scheduler_config.json", '{"_class_name": "MyScheduler"}', "names the scheduler MyScheduler"),
        ("scheduler/scheduler_config.json", '{"_class_name": "UNet2DModel"}', "names the scheduler UNet2DModel"),
        ("scheduler/scheduler_config.json", None, "cannot be read"),
        ("tokenizer/tokenizer.json", None, "has no tokenizer"),
        ("tokenizer/tokenizer.json", "{}", "that can be read"),
        ("text_encoder/config.json", '{"model_type": "t5", "hidden_size": 32}', "holds a t5"),
    ],
)
def test_settings_that_are_none_are_refused(
    file: str, content: str | None, words: str, tmp_path: Path, sd15_folder: Path
) -> None:
    folder = copy(sd15_folder, tmp_path)
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_text(content)
    assert words in refused(folder)


def test_quantised_weights_are_refused(tmp_path: Path, sd15_folder: Path) -> None:
    folder = copy(sd15_folder, tmp_path)
    reset(folder / "unet" / "config.json", quantization_config={"quant_method": "bitsandbytes"})
    assert "holds quantised weights" in refused(folder)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "tokenizer", "scheduler"])
def test_a_folder_that_is_missing_is_named(part: str, tmp_path: Path, sd15_folder: Path) -> None:
    folder = copy(sd15_folder, tmp_path)
    (folder / part).rename(tmp_path / "elsewhere")
    assert part in refused(folder)


@pytest.mark.parametrize(
    ("pipeline", "what"),
    [
        ("StableDiffusionInpaintPipeline", "a model for inpainting"),
        ("StableDiffusionXLInpaintPipeline", "a model for inpainting"),
        ("StableDiffusionImg2ImgPipeline", "a model that redraws pictures"),
        ("StableDiffusionXLImg2ImgPipeline", "a model that redraws pictures"),
        ("StableDiffusionInstructPix2PixPipeline", "a model that edits pictures"),
        ("StableDiffusionControlNetPipeline", "a pipeline with a ControlNet, which draws from a second picture"),
        ("StableDiffusionControlNetInpaintPipeline", "a pipeline with a ControlNet"),
        ("StableDiffusionUpscalePipeline", "an upscaler, which enlarges pictures"),
        ("StableDiffusionLatentUpscalePipeline", "an upscaler, which enlarges pictures"),
        ("StableDiffusionDepth2ImgPipeline", "a model that draws from a picture's depth"),
    ],
)
def test_a_pipeline_that_draws_from_pictures_is_refused_for_what_it_is_whatever_its_unet_reads(
    pipeline: str, what: str, tmp_path: Path, sd15_folder: Path, sdxl_folder: Path
) -> None:
    folder = copy(sdxl_folder if "XL" in pipeline else sd15_folder, tmp_path)
    reset(folder / "model_index.json", _class_name=pipeline)
    assert f"is a {pipeline}, {what}" in refused(folder)
    missing = generators.missing(str(folder))
    assert missing is not None and what in missing.reason


def test_a_refiner_is_refused_for_what_it_is(tmp_path: Path, sdxl_folder: Path) -> None:
    folder = copy(sdxl_folder, tmp_path)
    reset(folder / "model_index.json", text_encoder=[None, None])
    assert "has no text_encoder" in refused(folder)
    for pipeline in ("StableDiffusionXLPipeline", "StableDiffusionXLImg2ImgPipeline"):
        reset(folder / "model_index.json", requires_aesthetics_score=True, _class_name=pipeline)
        assert "is SDXL's refiner, which finishes what the base model drew: give the base model" in refused(folder)


def test_a_safety_checker_that_is_named_and_missing_is_no_matter(tmp_path: Path, sd15_folder: Path) -> None:
    folder = copy(sd15_folder, tmp_path)
    reset(
        folder / "model_index.json",
        safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"],
        feature_extractor=["transformers", "CLIPImageProcessor"],
    )
    assert pipelines.load(folder).model.safety_checker is None


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path, sd15_folder: Path) -> None:
    folder = copy(sd15_folder, tmp_path)
    content = json.loads((folder / "tokenizer" / "tokenizer.json").read_text())
    size = len(content["model"]["vocab"])
    content["model"]["vocab"] |= {f"word{i}</w>": size + i for i in range(100)}
    (folder / "tokenizer" / "tokenizer.json").write_text(json.dumps(content))
    assert "words, its text encoder" in refused(folder)


def test_a_tokenizer_without_a_length_cuts_where_its_encoder_ends(tmp_path: Path, sd15_folder: Path) -> None:
    folder = copy(sd15_folder, tmp_path)
    path = folder / "tokenizer" / "tokenizer_config.json"
    values = {k: v for k, v in json.loads(path.read_text()).items() if k not in ("model_max_length", "max_length")}
    path.write_text(json.dumps(values))
    assert pipelines.load(folder).model.tokenizer.model_max_length == 77
