"""Values in pipelines other than the plain one: rows without a principle do not change in any, or it is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from datagen.weights.value_pipeline import DoesNotFit
from training.errors import TrainingError
from training.inference.value_guide import ValueGuide
from training.models import diffusion
from training.trainables.livo import LivoTrainable

CRACKS, SMOKE = "cracks considered inappropriate", "smoke considered inappropriate"
PROMPTS = ["a chef in park 1", "a doctor", "a lamp on a table"]
PRINCIPLES = [CRACKS, None, (CRACKS, SMOKE)]
LIBRARY: Any = diffusers

Draw = Callable[..., torch.Tensor]


@pytest.fixture(scope="module")
def folders(
    sd15_folder: Path, sdxl_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Path, Path]]:
    """Family → model, and a value encoder unlike its text encoder."""
    made = {}
    for family, model in (("sd15", sd15_folder), ("sdxl", sdxl_folder)):
        torch.manual_seed(1)
        trainable = LivoTrainable(diffusion.load(str(model)), leak_penalty=0.0)
        with torch.no_grad():
            for weight in trainable.parameters():
                weight.add_(0.3 * torch.randn_like(weight))
        made[family] = model, tmp_path_factory.mktemp("livo")
        trainable.save(made[family][1])
    return made


def picture(seed: int, mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    return Image.fromarray(pixels).convert(mode)


def controlnet(pipe: Any, seed: int = 0) -> Any:
    """A ControlNet of the U-Net's shape whose outputs are not zero, as they would be before its training."""
    torch.manual_seed(seed)
    made = LIBRARY.ControlNetModel.from_unet(pipe.unet, conditioning_embedding_out_channels=(4, 4, 8, 8))
    with torch.no_grad():
        for block in (*made.controlnet_down_blocks, made.controlnet_mid_block):
            block.weight.normal_(0, 0.3)
    return made.eval()


def ip_adapter(pipe: Any) -> None:
    """Load an IP-Adapter of random weights into the U-Net."""
    torch.manual_seed(3)
    unet, wide = pipe.unet, pipe.unet.config.cross_attention_dim
    state, key = {}, 1
    for name in unet.attn_processors:
        if name.endswith("attn2.processor"):
            block = unet.get_submodule(name.removesuffix(".processor"))
            for part in ("k", "v"):
                state[f"{key}.to_{part}_ip.weight"] = torch.randn(block.inner_dim, wide) * 0.2
            key += 2
    projection = {
        "proj.weight": torch.randn(4 * wide, 16), "proj.bias": torch.zeros(4 * wide),
        "norm.weight": torch.ones(wide), "norm.bias": torch.zeros(wide),
    }  # fmt: skip
    unet._load_ip_adapter_weights([{"image_proj": projection, "ip_adapter": state}])


def start(model: Path) -> Any:
    pipe = LIBRARY.DiffusionPipeline.from_pretrained(model)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def kind(pipe: Any, name: str) -> Any:
    return getattr(LIBRARY, f"StableDiffusion{'XL' if hasattr(pipe, 'text_encoder_2') else ''}{name}Pipeline")


def img2img(pipe: Any) -> tuple[Any, dict[str, Any]]:
    return kind(pipe, "Img2Img").from_pipe(pipe), {"image": [picture(i) for i in range(3)], "strength": 0.99}


def inpaint(pipe: Any) -> tuple[Any, dict[str, Any]]:
    words = {"image": [picture(i) for i in range(3)], "mask_image": [picture(5, "L")] * 3, "strength": 0.99}
    return kind(pipe, "Inpaint").from_pipe(pipe), words | {"height": 64, "width": 64}


def with_control(pipe: Any) -> tuple[Any, dict[str, Any]]:
    made = kind(pipe, "ControlNet").from_pipe(pipe, controlnet=controlnet(pipe))
    return made, {"image": [picture(i) for i in range(3)]}


def with_two_controls(pipe: Any) -> tuple[Any, dict[str, Any]]:
    made = kind(pipe, "ControlNet").from_pipe(pipe, controlnet=[controlnet(pipe, 1), controlnet(pipe, 2)])
    return made, {"image": [picture(0), picture(1)], "controlnet_conditioning_scale": [1.0, 0.5]}


def guessing(pipe: Any) -> tuple[Any, dict[str, Any]]:
    made, words = with_control(pipe)
    return made, {**words, "guess_mode": True}


def control_img2img(pipe: Any) -> tuple[Any, dict[str, Any]]:
    made = kind(pipe, "ControlNetImg2Img").from_pipe(pipe, controlnet=controlnet(pipe))
    images = [picture(i) for i in range(3)]
    return made, {"image": images, "control_image": images, "strength": 0.99}


def with_ip_adapter(pipe: Any) -> tuple[Any, dict[str, Any]]:
    ip_adapter(pipe)
    torch.manual_seed(4)
    return pipe, {"ip_adapter_image_embeds": [torch.randn(2, 1, 16)], "height": 64, "width": 64}


def with_ip_adapter_and_control(pipe: Any) -> tuple[Any, dict[str, Any]]:
    made, words = with_control(pipe)
    more = with_ip_adapter(made)[1]
    return made, words | {"ip_adapter_image_embeds": more["ip_adapter_image_embeds"]}


def without_guidance(pipe: Any) -> tuple[Any, dict[str, Any]]:
    made, words = with_control(pipe)
    return made, {**words, "guidance_scale": 1.0}


def perturbed(pipe: Any) -> tuple[Any, dict[str, Any]]:
    made = kind(pipe, "PAG").from_pipe(pipe, pag_applied_layers=["mid"])
    return made, {"height": 64, "width": 64}


def draw(pipe: Any, more: dict[str, Any], **words: Any) -> torch.Tensor:
    seeds = [torch.Generator().manual_seed(i) for i in range(3)]
    options = {"num_inference_steps": 2, "guidance_scale": 4.0, "output_type": "latent", **more}
    made = pipe(**words, generator=seeds, **options).images
    assert isinstance(made, torch.Tensor)
    return made


PIPELINES = [
    img2img, inpaint, with_control, with_two_controls, guessing, control_img2img, with_ip_adapter,
    with_ip_adapter_and_control, without_guidance, perturbed,
]  # fmt: skip


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
@pytest.mark.parametrize("make", PIPELINES, ids=lambda make: make.__name__)
def test_rows_without_a_principle_are_the_pipelines_own(
    make: Callable[[Any], tuple[Any, dict[str, Any]]], family: str, folders: dict[str, tuple[Path, Path]]
) -> None:
    model, trained = folders[family]
    pipe, more = make(start(model))
    pipe.set_progress_bar_config(disable=True)
    base = draw(pipe, more, prompt=PROMPTS)
    guide = ValueGuide(pipe, trained)
    made = draw(pipe, more, **guide(PROMPTS, PRINCIPLES))
    assert torch.equal(made[1], base[1])
    assert not torch.allclose(made[0], base[0], atol=1e-4) and not torch.allclose(made[2], base[2], atol=1e-4)
    assert torch.equal(draw(pipe, more, **guide(PROMPTS, [None] * 3)), base)
    guide.close()
    assert torch.equal(draw(pipe, more, prompt=PROMPTS), base)


def test_the_control_of_a_row_with_a_principle_is_its_prompts_own(folders: dict[str, tuple[Path, Path]]) -> None:
    """Its residuals do not depend on the principle: the value acts in the U-Net, as in training."""
    model, trained = folders["sd15"]
    pipe, more = with_control(start(model))
    seen: list[torch.Tensor] = []
    pipe.controlnet.register_forward_hook(lambda module, args, output: seen.append(output[1].clone()))
    draw(pipe, {**more, "num_inference_steps": 1}, prompt=PROMPTS)
    guide = ValueGuide(pipe, trained)
    draw(pipe, {**more, "num_inference_steps": 1}, **guide(PROMPTS, PRINCIPLES))
    assert len(seen) == 2 and torch.equal(*seen)


def test_a_guide_of_the_plain_pipeline_is_refused_by_one_with_a_controlnet(
    folders: dict[str, tuple[Path, Path]],
) -> None:
    model, trained = folders["sd15"]
    plain = start(model)
    guide = ValueGuide(plain, trained)
    control, more = with_control(plain)
    with pytest.raises(DoesNotFit, match="make a guide for the one with the ControlNet"):
        draw(control, more, **guide(PROMPTS, PRINCIPLES))
    base = draw(plain, {"height": 64, "width": 64}, prompt=PROMPTS)
    made = draw(plain, {"height": 64, "width": 64}, **guide(PROMPTS, PRINCIPLES))
    assert torch.equal(made[1], base[1])


@pytest.mark.parametrize("part", ["unet", "controlnet"])
def test_parts_that_were_replaced_are_noticed(part: str, folders: dict[str, tuple[Path, Path]]) -> None:
    model, trained = folders["sd15"]
    pipe, _ = with_control(start(model))
    guide = ValueGuide(pipe, trained)
    setattr(pipe, part, start(model).unet if part == "unet" else controlnet(pipe, 7))
    with pytest.raises(TrainingError, match="another U-Net or ControlNet since"):
        guide(PROMPTS, PRINCIPLES)


def refiner(pipe: Any) -> Any:
    parts = {name: part for name, part in pipe.components.items() if name in ("vae", "unet", "scheduler")}
    more = {"text_encoder": None, "tokenizer": None, "image_encoder": None, "feature_extractor": None}
    second = {"text_encoder_2": pipe.text_encoder_2, "tokenizer_2": pipe.tokenizer_2}
    return LIBRARY.StableDiffusionXLImg2ImgPipeline(
        **{k: v for k, v in more.items() if "e_" not in k}, **parts, **second
    )


def pix2pix(pipe: Any) -> Any:
    parts = {name: part for name, part in pipe.components.items() if name != "image_encoder"}
    return LIBRARY.StableDiffusionInstructPix2PixPipeline(**parts, requires_safety_checker=False)


def compiled(pipe: Any) -> Any:
    pipe.unet._orig_mod = True  # as torch.compile leaves it; to compile takes too long here
    return pipe


def without_text(pipe: Any) -> Any:
    pipe.text_encoder = None
    return pipe


def projecting(pipe: Any) -> Any:
    pipe.unet.register_to_config(encoder_hid_dim_type="text_proj")
    return pipe


def not_diffusion(pipe: Any) -> Any:
    return LIBRARY.DDPMPipeline(pipe.unet, pipe.scheduler)


@pytest.mark.parametrize(
    ("family", "spoil", "says"),
    [
        ("sdxl", refiner, "a refiner refines what such a one has drawn"),
        ("sd15", pix2pix, "does not take prompt_embeds"),
        ("sd15", compiled, "is compiled"),
        ("sd15", without_text, "without text_encoder"),
        ("sd15", projecting, "projects its prompts"),
        ("sd15", not_diffusion, "without text_encoder and tokenizer"),
    ],
)
def test_pipelines_that_have_no_place_for_values_are_refused(
    family: str, spoil: Callable[[Any], Any], says: str, folders: dict[str, tuple[Path, Path]]
) -> None:
    model, trained = folders[family]
    with pytest.raises(TrainingError, match="^[^\n]*$") as caught:
        ValueGuide(spoil(start(model)), trained)
    assert says in str(caught.value)


def test_a_u_net_that_splits_its_rows_is_refused(folders: dict[str, tuple[Path, Path]]) -> None:
    """As those of videos do: a prompt is repeated for each frame."""
    model, trained = folders["sd15"]
    pipe = start(model)
    guide = ValueGuide(pipe, trained)
    words = guide(PROMPTS, PRINCIPLES)["prompt_embeds"]
    crossing = next(m for name, m in pipe.unet.named_modules() if name.endswith(".attn2"))
    with torch.no_grad():
        guide._take_tokens(pipe.unet, (None, None), {"encoder_hidden_states": words})
        with pytest.raises(DoesNotFit, match="splits the rows"):
            crossing(torch.randn(12, 4, crossing.to_q.in_features), encoder_hidden_states=words.repeat(4, 1, 1))


def test_a_u_net_that_is_called_by_place_gets_its_values(folders: dict[str, tuple[Path, Path]]) -> None:
    model, trained = folders["sd15"]
    pipe = start(model)
    guide = ValueGuide(pipe, trained)
    words = guide(PROMPTS, PRINCIPLES)["prompt_embeds"]
    torch.manual_seed(0)
    latents, time = torch.randn(3, 4, 8, 8), torch.tensor(500)
    with torch.no_grad():
        named = pipe.unet(latents, time, encoder_hidden_states=words).sample
        assert torch.equal(pipe.unet(latents, time, words).sample, named)
