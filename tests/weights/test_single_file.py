from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import shared_file
import torch
from safetensors.torch import save_file

from datagen.errors import ModelError
from datagen.weights import pipelines, single_file

FAMILIES = ("sd1", "sd2", "sdxl")
Tensors = dict[str, Any]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Any, Path, Tensors]]:
    """A family's pipeline, its file, and the file's tensors."""
    known: dict[str, tuple[Any, Path, Tensors]] = {}

    def make(family: str) -> tuple[Any, Path, Tensors]:
        if family not in known:
            pipe = shared_file.pipeline(family)
            tensors = shared_file.tensors(pipe, family)
            path = tmp_path_factory.mktemp(family) / f"{family}.safetensors"
            known[family] = pipe, shared_file.save(path, tensors), tensors
        return known[family]

    return make


def states(pipe: Any) -> Tensors:
    names = [name for name in pipelines.NETWORKS if getattr(pipe, name, None) is not None]
    return {f"{name}.{key}": value for name in names for key, value in getattr(pipe, name).state_dict().items()}


def refused(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        pipelines.load(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("family", FAMILIES)
def test_one_file_is_the_pipeline_it_was_saved_from(family: str, made: Any) -> None:
    pipe, path, _ = made(family)
    loaded = pipelines.load(path, prediction="epsilon" if family == "sd2" else "")
    assert loaded.notes == () and type(loaded.model) is type(pipe)
    expected = states(pipe)
    assert states(loaded.model).keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in states(loaded.model).items())
    for name in pipelines.NETWORKS:
        ours, theirs = (getattr(one, name, None) for one in (loaded.model, pipe))
        for setting in (
            *("attention_head_dim", "block_out_channels", "transformer_layers_per_block", "use_linear_projection"),
            *("addition_time_embed_dim", "scaling_factor", "force_upcast", "hidden_act", "num_attention_heads"),
            *("num_hidden_layers", "projection_dim", "sample_size", "layers_per_block"),
        ):
            mine, other = (getattr(one.config, setting, None) if one else None for one in (ours, theirs))
            alike = [v if not isinstance(v, (list, tuple)) else tuple(v) for v in (mine, other)]
            if setting == "transformer_layers_per_block" and alike[1] == 1:
                alike[1] = (1, 1)
            assert alike[0] == alike[1] or name == "vae" and setting == "sample_size", (name, setting)
    settings = [{k: v for k, v in one.scheduler.config.items() if k[0] != "_"} for one in (loaded.model, pipe)]
    assert settings[0] == settings[1]


def test_pictures_are_those_of_the_folder_of_the_same_weights(made: Any) -> None:
    pipe, path, _ = made("sdxl")
    pipe.set_progress_bar_config(disable=True)
    arguments = {"num_inference_steps": 2, "width": 64, "height": 64, "output_type": "np"}
    drawn = [
        one("a chef, 35 mm", generator=torch.Generator().manual_seed(3), **arguments).images
        for one in (pipe, pipelines.load(path).model)
    ]
    assert (drawn[0] == drawn[1]).all()


def test_text_is_read_as_openclip_reads_it() -> None:
    from open_clip.tokenizer import SimpleTokenizer

    tokenizer = single_file.tokenizer(single_file.SingleFile(Path(), "sdxl", {}, {}), "tokenizer_2")
    # Where the end of a text is filled up with "!", one inside it is that word as well, as in diffusers' own folders.
    for text in ("a chef in a park", "Don't  stop, NOW?", "naïve café", ""):
        ids = tokenizer(text, padding="max_length", truncation=True).input_ids
        assert ids == SimpleTokenizer()(text)[0].tolist()


@pytest.mark.parametrize(
    ("marks", "metadata", "predicts", "is_zero"),
    [
        ({}, {}, "epsilon", False),
        ({"v_pred": torch.zeros(0)}, {}, "v_prediction", False),
        ({"v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)}, {}, "v_prediction", True),
        ({}, {"modelspec.prediction_type": "v"}, "v_prediction", False),
        ({}, {"modelspec.prediction_type": "epsilon"}, "epsilon", False),
    ],
)
def test_what_a_file_says_of_its_prediction_is_heard(
    marks: Tensors, metadata: dict[str, str], predicts: str, is_zero: bool, made: Any, tmp_path: Path
) -> None:
    path = shared_file.save(tmp_path / "x.safetensors", made("sdxl")[2] | marks, metadata or None)
    config = pipelines.scheduler(pipelines.read(path)).config
    assert (config.prediction_type, config.get("rescale_betas_zero_snr", False)) == (predicts, is_zero)
    assert config.timestep_spacing == ("trailing" if is_zero else "leading")


def test_a_stable_diffusion_2_must_be_said_to_predict_noise_or_v(made: Any) -> None:
    path = made("sd2")[1]
    assert "set the profile's prediction to epsilon (made for 512 px) or v (made for 768 px)" in refused(path)
    found = pipelines.read(path)
    assert pipelines.scheduler(found, "v").config.prediction_type == "v_prediction"
    zero = pipelines.scheduler(found, "v-zero-snr")
    assert zero.config.timestep_spacing == "trailing" and zero.alphas_cumprod[-1] == 0


def test_a_class_that_knows_no_zero_snr_gives_way_to_ddim(made: Any) -> None:
    made_of = pipelines.scheduler(pipelines.read(made("sd1")[1]), "v-zero-snr")
    assert type(made_of).__name__ == "DDIMScheduler" and made_of.alphas_cumprod[-1] == 0


def without(*words: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {name: value for name, value in tensors.items() if not any(w in name for w in words)}


def only(*starts: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {name: value for name, value in tensors.items() if name.startswith(starts)}


def channels(count: int) -> Callable[[Tensors], Tensors]:
    first = "model.diffusion_model.input_blocks.0.0.weight"
    return lambda tensors: tensors | {first: torch.zeros(tensors[first].shape[0], count, 3, 3)}


KINDS: list[tuple[str, Callable[[Tensors], Tensors], str]] = [
    ("sd1", channels(9), "a model for inpainting"),
    ("sdxl", channels(9), "a model for inpainting"),
    ("sd1", channels(8), "edits pictures (InstructPix2Pix)"),
    ("sd2", channels(7), "an upscaler"),
    ("sd2", channels(5), "draws from a picture's depth"),
    ("sdxl", lambda t: {n.replace("embedders.1.model.", "embedders.0.model."): v for n, v in t.items()}, "refiner"),
    ("sd1", lambda t: t | {"control_model.zero_convs.0.0.weight": torch.zeros(1)}, "a ControlNet"),
    ("sd1", lambda t: {"controlnet_cond_embedding.conv_in.weight": torch.zeros(1)}, "a ControlNet"),
    ("sd1", lambda t: {"lora_unet_mid_block_attn.lora_down.weight": torch.zeros(4, 4)}, "is a LoRA, name it in"),
    ("sd1", lambda t: {"unet.mid_block.attn.to_q.lora_A.weight": torch.zeros(4, 4)}, "is a LoRA, name it in"),
    ("sd1", lambda t: {"lora_unet_x.hada_w1_a": torch.zeros(4, 4)}, "is a LoRA, name it in"),
    ("sd1", lambda t: {"emb_params": torch.zeros(4, 4)}, "a textual inversion"),
    ("sd1", lambda t: {"image_proj.proj.weight": torch.zeros(4, 4)}, "an IP-Adapter"),
    ("sd1", lambda t: {"double_blocks.0.img_attn.norm.key_norm.scale": torch.zeros(4)}, "a FLUX"),
    ("sd1", lambda t: {"model.diffusion_model.joint_blocks.0.x": torch.zeros(4)}, "a Stable Diffusion 3"),
    ("sdxl", lambda t: t | {"edm_mean": torch.zeros(4)}, "a Playground v2.5"),
    ("sd1", only("model."), "is a U-Net alone"),
    ("sd1", only("first_stage_model."), "is a VAE alone (name it as the profile's vae)"),
    ("sd1", only("cond_stage_model."), "is a text encoder alone"),
    ("sd1", lambda t: {"down_blocks.0.x": torch.zeros(1)}, "is a U-Net alone"),
    ("sd1", lambda t: {"layer.weight": torch.zeros(1)}, "no model that is known here (it holds layer.weight)"),
]


@pytest.mark.parametrize(("family", "change", "words"), KINDS)
def test_what_is_no_whole_model_is_named_for_what_it_is(
    family: str, change: Callable[[Tensors], Tensors], words: str, made: Any, tmp_path: Path
) -> None:
    path = shared_file.save(tmp_path / "x.safetensors", change(made(family)[2]))
    with pytest.raises(ModelError) as caught:
        pipelines.read(path)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("family", "change", "words"),
    [
        ("sd1", without("middle_block"), "the weights of unet in"),
        ("sd1", without("encoder.mid.attn_1"), "the weights of vae in"),
        ("sd1", without("encoder.layers.1."), "the weights of text_encoder in"),
        ("sdxl", without("resblocks.1.mlp"), "the weights of text_encoder_2 in"),
        ("sdxl", without("label_emb"), "reads nothing besides the text"),
        ("sd1", without("token_embedding"), "lacks tensors that a whole model has"),
        ("sd1", lambda t: t | {"model.diffusion_model.extra": torch.zeros(1)}, "1 tensors of its U-Net have no place"),
        ("sd1", lambda t: t | {"cond_stage_model.transformer.text_model.extra": torch.zeros(1)}, "1 unexpected"),
        ("sd1", lambda t: t | {"something.else": torch.zeros(1)}, "1 tensors that have no place in the model"),
        ("sd1", lambda t: t | {"model.diffusion_model.out.2.bias": torch.full((4,), torch.nan)}, "hold NaN"),
    ],
)
def test_files_that_do_not_fill_the_model_are_refused(
    family: str, change: Callable[[Tensors], Tensors], words: str, made: Any, tmp_path: Path
) -> None:
    assert words in refused(shared_file.save(tmp_path / "x.safetensors", change(made(family)[2])))


@pytest.mark.parametrize("suffix", [".ckpt", ".pt", ".bin"])
def test_a_pickle_is_refused_with_what_makes_safetensors_of_it(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(b"\x80\x02")
    assert "from_single_file(FILE).save_pretrained(FOLDER)" in refused(path)


@pytest.mark.parametrize(
    "beside",
    [
        {"model_ema.diffusion_modelinput_blocks00weight": torch.zeros(3), "model_ema.num_updates": torch.tensor(3)},
        {"betas": torch.zeros(9), "alphas_cumprod": torch.zeros(9), "sqrt_alphas_cumprod": torch.zeros(9)},
        {"loss.logvar": torch.zeros(3), "global_step": torch.tensor(840000)},
        {"cond_stage_model.logit_scale": torch.tensor(1.0), "denoiser.sigmas": torch.zeros(9)},
    ],
)
def test_what_training_left_beside_the_model_is_passed_over(beside: Tensors, made: Any, tmp_path: Path) -> None:
    pipe, _, tensors = made("sd1")
    loaded = pipelines.load(shared_file.save(tmp_path / "x.safetensors", tensors | beside))
    assert torch.equal(loaded.model.unet.conv_in.weight, pipe.unet.conv_in.weight)
    said = any(name.startswith("model_ema") for name in beside)
    assert bool(loaded.notes) is said and all("EMA" in note for note in loaded.notes)


def test_half_precision_stays_what_it_is_and_names_of_newer_savers_are_read(made: Any, tmp_path: Path) -> None:
    tensors = {name: value.half() if value.is_floating_point() else value for name, value in made("sd1")[2].items()}
    bare = {name.replace("transformer.text_model.", "transformer."): value for name, value in tensors.items()}
    model = pipelines.load(shared_file.save(tmp_path / "x.safetensors", bare), dtype=torch.float16).model
    assert model.unet.dtype == model.text_encoder.dtype == torch.float16
    assert torch.equal(model.unet.conv_in.weight, made("sd1")[0].unet.conv_in.weight.half())


@pytest.mark.parametrize(("family", "prefix"), [("sd1", ""), ("sd1", "first_stage_model."), ("sdxl", "")])
def test_a_model_without_a_vae_takes_one_from_elsewhere_in_one_file_or_a_folder(
    family: str, prefix: str, made: Any, tmp_path: Path
) -> None:
    pipe, _, tensors = made(family)
    path = shared_file.save(tmp_path / "model.safetensors", without("first_stage_model")(tensors))
    assert "holds no VAE: name one as the profile's vae" in refused(path)
    alone = only("first_stage_model.")(tensors)
    file = tmp_path / "vae.safetensors"
    save_file({name.replace("first_stage_model.", prefix): v.contiguous() for name, v in alone.items()}, file)
    pipe.vae.save_pretrained(tmp_path / "vae")
    for place in (file, tmp_path / "vae"):
        loaded = pipelines.load(path, vae=place).model.vae
        assert loaded.config.scaling_factor == pipe.vae.config.scaling_factor
        assert all(torch.equal(value, pipe.vae.state_dict()[name]) for name, value in loaded.state_dict().items())
