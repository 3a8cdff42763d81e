from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import misfits
import numpy as np
import pytest
import shared_file
import torch
from safetensors.torch import save_file

from datagen import generators, models, recipe
from datagen.errors import ModelError
from datagen.generators import assembly
from datagen.generators.protocol import Request
from datagen.models import Source
from datagen.weights import licences


def request(**changes: Any) -> Request:
    values: dict[str, Any] = {"negative": "", "steps": 3, "guidance": 4.0, "width": 64, "height": 64}
    return Request(**({"text": "a chef in a park", "seed": 7} | values | changes))


def load(model: object, scheduler: str = "model", **options: Any) -> Any:
    return generators.load(SimpleNamespace(model=str(model), revision="", scheduler=scheduler, **options))


def picture(generator: Any, **changes: Any) -> Any:
    return np.asarray(generators.in_order(generator, [request(**changes)])[0]).astype(int)


def stock(folder: Path, kind: str = "", **settings: Any) -> Any:
    """diffusers' own pipeline, with a scheduler of that kind."""
    import diffusers

    pipe = diffusers.DiffusionPipeline.from_pretrained(folder)
    own = pipe.scheduler
    pipe.scheduler = getattr(diffusers, kind or type(own).__name__).from_config(own.config, **settings)
    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator("cpu").manual_seed(7)
    made = pipe(
        "a chef in a park", num_inference_steps=3, guidance_scale=4.0, width=64, height=64, generator=generator
    )
    return np.asarray(made.images[0]).astype(int)


TRAILING = {"timestep_spacing": "trailing"}
V = {"prediction_type": "v_prediction"}


@pytest.mark.parametrize(
    ("scheduler", "prediction", "kind", "settings"),
    [
        ("euler-trailing", "model", "EulerDiscreteScheduler", TRAILING),
        ("lcm", "model", "LCMScheduler", {"clip_sample": False}),
        ("ddim", "v", "DDIMScheduler", {"clip_sample": False, **V}),
        ("dpm++", "v", "DPMSolverMultistepScheduler", V),
        ("euler", "v", "EulerDiscreteScheduler", V),
        ("lcm", "v", "LCMScheduler", {"clip_sample": False, **V}),
        (
            "ddim",
            "v-zero-snr",
            "DDIMScheduler",
            {"clip_sample": False, "rescale_betas_zero_snr": True, **V, **TRAILING},
        ),
        ("euler", "v-zero-snr", "EulerDiscreteScheduler", {"rescale_betas_zero_snr": True, **V, **TRAILING}),
        ("model", "epsilon", "", {}),
        ("model", "v", "", V),
    ],
)
@pytest.mark.parametrize("model", ["sd15_folder", "sdxl_folder"])
def test_distilled_and_v_predicting_models_are_drawn_with_as_diffusers_does(
    model: str, scheduler: str, prediction: str, kind: str, settings: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(model)
    ours = picture(load(folder, scheduler, prediction=prediction))
    assert np.abs(ours - stock(folder, kind, **settings)).max() <= 1


def test_an_adapter_changes_the_pictures_and_stands_in_the_row(sd15_folder: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    name = "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_v.lora_"
    factors = {f"{name}A.weight": torch.randn(4, 32), f"{name}B.weight": torch.randn(32, 4)}
    save_file(factors, tmp_path / "style.safetensors")
    plain, once, half = (
        load(sd15_folder, **({"adapters": (f"{tmp_path}/style.safetensors{scale}",)} if scale is not None else {}))
        for scale in (None, "", "@0.5")
    )
    assert plain.means(request()).adapter == ""
    said = once.means(request()).adapter
    assert said.startswith("style@") and half.means(request()).adapter == f"{said} × 0.5"
    drawn = [picture(one).tobytes() for one in (plain, once, half)]
    assert len(set(drawn)) == 3


@pytest.mark.parametrize("options", [{"vae_tiling": True}, {"offload": "networks"}, {"offload": "layers"}])
def test_what_saves_memory_changes_no_picture_that_fits_into_one_tile(
    options: dict[str, Any], sdxl_folder: Path
) -> None:
    plain = load(sdxl_folder)
    assert np.abs(picture(load(sdxl_folder, **options)) - picture(plain)).max() <= 1


@pytest.mark.parametrize(
    ("how", "called"), [("networks", "enable_model_cpu_offload"), ("layers", "enable_sequential_cpu_offload")]
)
def test_on_a_gpu_what_is_offloaded_is_moved_by_its_hooks_alone(how: str, called: str) -> None:
    calls: list[tuple[str, Any]] = []

    class Pipeline:
        def enable_model_cpu_offload(self, device: Any) -> None:
            calls.append(("enable_model_cpu_offload", device))
            self._offload_device = device

        def enable_sequential_cpu_offload(self, device: Any) -> None:
            calls.append(("enable_sequential_cpu_offload", device))
            self._offload_device = device

        def to(self, device: Any) -> None:
            calls.append(("to", device))

    gpu, pipeline, other = SimpleNamespace(type="cuda"), Pipeline(), Pipeline()
    assembly.offload(pipeline, how, gpu)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assembly, "_at_work", [])
        for one in (pipeline, other, pipeline):
            assembly.take_the_device(one, gpu)
    assert calls == [(called, gpu), ("to", gpu), ("to", "cpu")]


@pytest.fixture
def half_xl(tmp_path: Path) -> Path:
    shared_file.pipeline("sdxl", torch.float16).save_pretrained(tmp_path / "xl")
    return tmp_path / "xl"


def vae(folder: Path, wanted: str = "", dtype: Any = torch.float16) -> tuple[Source | None, tuple[str, ...]]:
    return assembly._vae(Source(folder, "xl", ""), wanted, dtype)


def test_an_sdxl_in_float16_takes_the_vae_that_does_not_overflow_where_it_is_at_hand(
    half_xl: Path, sd15_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, notes = vae(half_xl)
    assert found is None and "the VAE works in float32, as madebyollin/sdxl-vae-fp16-fix is not here" in notes[0]
    fixed = Source(half_xl / "vae", assembly.HALF_VAE, "abc")
    monkeypatch.setattr(models, "find_vae", lambda name, **_: fixed if name == assembly.HALF_VAE else None)
    assert vae(half_xl) == (fixed, ())
    for nothing in (vae(half_xl, "own"), vae(half_xl, dtype=torch.float32), vae(half_xl, dtype=torch.bfloat16)):
        assert nothing == (None, ())
    assert vae(sd15_folder) == (None, ())
    misfits.reset(half_xl / "vae" / "config.json", force_upcast=False)
    assert vae(half_xl) == (None, ())


def test_a_rows_own_scheduler_is_made_again(sd15_folder: Path) -> None:
    means = load(sd15_folder, "lcm").means(request())
    again = load(sd15_folder, f"{means.scheduler} {means.scheduler_config}").means(request())
    assert (again.scheduler, again.scheduler_config) == (means.scheduler, means.scheduler_config)
    assert json.loads(again.scheduler_config)["clip_sample"] is False


@pytest.mark.parametrize(
    ("licence", "says"),
    [
        ("cc-by-nc-4.0", "forbids commercial use"),
        ("flux-1-dev-non-commercial-license", "forbids commercial use"),
        ("sai-nc-community", "forbids commercial use"),
        ("fair-ai-research-only", "forbids commercial use"),
        ("stabilityai-ai-community", "free for small companies only"),
        ("apache-2.0", ""),
        ("creativeml-openrail-m", ""),
        ("openrail++", ""),
        ("cc0-1.0", ""),
        ("", ""),
    ],
)
def test_a_licence_that_forbids_a_use_is_said(licence: str, says: str) -> None:
    said = licences.note(licence)
    assert bool(said) is bool(says) and all(says in line for line in said)


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("---\nlicense: cc-by-nc-4.0\ntags:\n- x\n---\n# Model", "cc-by-nc-4.0"),
        (
            "---\nlicense: other\nlicense_name: flux-1-dev-non-commercial-license\n---\n",
            "flux-1-dev-non-commercial-license",
        ),
        ("# No front matter", ""),
        ("---\nlicense: [\n---\n", ""),
        ("---\ntags: []\n---\n", ""),
        (None, ""),
    ],
)
def test_the_licence_of_a_folder_is_read_off_its_card(card: str | None, licence: str, tmp_path: Path) -> None:
    if card is not None:
        (tmp_path / "README.md").write_text(card)
    assert licences.of_card(tmp_path) == licence


def test_a_licence_stands_in_the_notes_of_what_is_drawn(sd15_folder: Path, tmp_path: Path) -> None:
    folder = misfits.copy(sd15_folder, tmp_path)
    (folder / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n")
    assert "cc-by-nc-4.0, forbids commercial use" in load(folder).means(request()).notes


def test_options_at_their_defaults_change_no_digest() -> None:
    plain = recipe.load("pick-style", [])
    name = next(iter(plain.profiles))
    profile = recipe.resolved(plain, name)["profile"]
    assert not {"prediction", "adapters", "offload", "vae_tiling"} & profile.keys()
    changed = recipe.load("pick-style", [f'profiles.{name}.adapters=["a.safetensors@0.5"]'])
    assert recipe.digest(changed, name) != recipe.digest(plain, name)


@pytest.mark.parametrize("key", ["offload", "prediction", "scheduler"])
def test_a_value_that_there_is_not_is_refused_with_those_that_there_are(key: str) -> None:
    from datagen.errors import RecipeError

    plain = recipe.load("pick-style", [])
    with pytest.raises(RecipeError) as caught:
        recipe.load("pick-style", [f"profiles.{next(iter(plain.profiles))}.{key}=nonsense"])
    assert key in str(caught.value) and "\n" not in str(caught.value)


def test_a_model_in_one_file_is_loaded_by_its_path_and_known_by_its_weights(tmp_path: Path) -> None:
    pipe = shared_file.pipeline("sdxl")
    path = shared_file.save(tmp_path / "my.model.safetensors", shared_file.tensors(pipe, "sdxl"))
    assert models.missing(str(path)) is None
    generator = load(path)
    assert generator.name == "my.model" and len(generator.revision) == 16
    pipe.save_pretrained(tmp_path / "folder")
    assert (picture(generator) == picture(load(tmp_path / "folder"))).all()


def test_a_wrong_prediction_of_a_class_that_has_none_is_refused(sd15_folder: Path, tmp_path: Path) -> None:
    from diffusers import FlowMatchEulerDiscreteScheduler

    folder = misfits.copy(sd15_folder, tmp_path)
    FlowMatchEulerDiscreteScheduler().save_pretrained(folder / "scheduler")
    with pytest.raises(ModelError, match="is for one kind of prediction: leave prediction out"):
        load(folder, prediction="v")
