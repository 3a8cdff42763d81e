import inspect
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import misfits
import numpy as np
import pytest
import torch

from datagen import generators, models
from datagen.errors import ModelError
from datagen.generators import assembly, stable_diffusion
from datagen.generators.protocol import ContentError, Request
from datagen.weights import hub


def request(text: str = "a chef", seed: int = 0, **changes: Any) -> Request:
    values: dict[str, Any] = {"negative": "", "steps": 2, "guidance": 4.0, "width": 64, "height": 64}
    return Request(text=text, seed=seed, **(values | changes))


def drawn(generator: Any, requests: list[Request]) -> list[Any]:
    """The pictures of requests, in their order."""
    return generators.in_order(generator, requests)


def in_our_layout(stock: Any) -> Any:
    """A stock pipeline whose weights lie as the engine has them, so that it rounds as the engine does."""
    for part in (stock.unet, stock.vae):
        part.to(memory_format=torch.channels_last)
    stock.set_progress_bar_config(disable=True)
    return stock


def choice(model: object, scheduler: str = "ddim", precision: str = "auto", vae: str = "") -> Any:
    return SimpleNamespace(model=str(model), revision="", scheduler=scheduler, precision=precision, vae=vae)


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """No model of another test: some are spoilt by theirs."""
    for loaded in (stable_diffusion.load, generators._loaded):
        loaded.cache_clear()
    yield
    for loaded in (stable_diffusion.load, generators._loaded):
        loaded.cache_clear()


@pytest.fixture(params=["sd15_folder", "sdxl_folder"])
def folder(request: pytest.FixtureRequest) -> Path:
    path: Path = request.getfixturevalue(request.param)
    return path


MIXED = [
    request("a chef in the park", 1),
    request("a wizard, pixel art", 2, negative="plain"),
    request("red " * 100, 3),
    request("", 4),
    request("a farmer", 5, guidance=1.0),
    request("a doctor", 6, steps=1),
    request("a monarch", 7, width=96),
    *(request(f"a ball number {k}", 10 + k) for k in range(5)),
]


@pytest.mark.parametrize(
    ("scheduler", "negative"),
    [("ddim", "plain picture"), ("ddim", ""), ("dpm++", "plain picture"), ("euler", "plain picture"), ("model", "")],
)
def test_equals_the_stock_pipeline_on_the_same_latents(folder: Path, scheduler: str, negative: str) -> None:
    import diffusers

    ours = generators.load(choice(folder, scheduler))
    (image,) = drawn(ours, [request("a chef in the park", 7, negative=negative)])
    name = json.loads((folder / "model_index.json").read_text())["_class_name"]
    stock = getattr(diffusers, name).from_pretrained(folder)
    kinds = {"ddim": "DDIMScheduler", "dpm++": "DPMSolverMultistepScheduler", "euler": "EulerDiscreteScheduler"}
    if scheduler in kinds:
        stock.scheduler = getattr(diffusers, kinds[scheduler]).from_config(stock.scheduler.config)
        if scheduler == "ddim":
            stock.scheduler.register_to_config(clip_sample=False)
    stock.set_progress_bar_config(disable=True)
    expected = stock(
        "a chef in the park", negative_prompt=negative or None, num_inference_steps=2, guidance_scale=4.0,
        width=64, height=64, generator=torch.Generator("cpu").manual_seed(7),
    ).images[0]  # fmt: skip
    means = ours.means(request())
    assert means.scheduler == type(stock.scheduler).__name__
    rebuilt = getattr(diffusers, means.scheduler).from_config(json.loads(means.scheduler_config))
    # All that decides the noise stands there, also where it is what the class would take by itself.
    read = set(inspect.signature(type(stock.scheduler)).parameters)
    assert (
        json.loads(means.scheduler_config).keys() == read >= {"beta_schedule", "prediction_type", "timestep_spacing"}
    )
    assert all(stock.scheduler.config[k] == value for k, value in rebuilt.config.items() if k[0] != "_")
    assert (means.dtype, means.batch_size) == ("float32", 16)
    # Another batch shape may round the last bit of a pixel otherwise.
    assert np.abs(np.asarray(image).astype(int) - np.asarray(expected).astype(int)).max() <= 1


def test_an_image_does_not_depend_on_its_batch(folder: Path) -> None:
    generator = generators.load(choice(folder))
    together = [image.tobytes() for image in drawn(generator, MIXED)]
    backwards = [image.tobytes() for image in drawn(generator, MIXED[::-1])][::-1]
    alone = [drawn(generator, [one])[0].tobytes() for one in MIXED[::3]]
    assert together == backwards
    assert together[::3] == alone
    assert len(set(together)) == len(MIXED)


def test_an_ancestral_scheduler_does_not_depend_on_its_batch_either(sd15_folder: Path) -> None:
    import diffusers

    generator = stable_diffusion.load(str(sd15_folder), "", "euler")
    config = generator._pipeline.scheduler.config
    generator._pipeline.scheduler = diffusers.EulerAncestralDiscreteScheduler.from_config(config)
    together = [image.tobytes() for image in drawn(generator, MIXED)]
    assert together[::5] == [drawn(generator, [one])[0].tobytes() for one in MIXED[::5]]


def test_the_embedded_world_makes_the_same_image_alone_and_in_a_batch() -> None:
    generator = generators.load(choice("embedded"))
    together = [image.tobytes() for image in drawn(generator, MIXED)]
    assert together[::5] == [drawn(generator, [one])[0].tobytes() for one in MIXED[::5]]
    assert generator.name == "embedded"


def test_the_embedded_world_makes_the_same_image_with_any_number_of_threads() -> None:
    engine = stable_diffusion.load("embedded", "", "ddim")
    request = Request("a chef with a red ball in a park", "", 7, 4, 4.0, 64, 64)
    images = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            images.append(drawn(engine, [request])[0].tobytes())
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert images[0] == images[1] == images[2]


@pytest.mark.parametrize(("zeros", "stands_for"), [(True, "zeros"), (False, "text"), (None, "zeros")])
def test_what_an_empty_negative_prompt_is_follows_the_pipeline_and_stands_in_the_row(
    sdxl_folder: Path, tmp_path: Path, zeros: bool | None, stands_for: str
) -> None:
    import diffusers

    folder = Path(shutil.copytree(sdxl_folder, tmp_path / "model"))
    index = json.loads((folder / "model_index.json").read_text())
    index.pop("force_zeros_for_empty_prompt", None)
    (folder / "model_index.json").write_text(json.dumps(index | ({} if zeros is None else {ZEROS: zeros})))
    ours = stable_diffusion.load(str(folder), "", "model")
    bare, negated, encoded = drawn(
        ours, [request(seed=7, batch_size=8, **more) for more in ({}, {"negative": "red"}, {})]
    )
    assert ours.means(request()).empty_negative == stands_for
    stock = in_our_layout(diffusers.StableDiffusionXLPipeline.from_pretrained(folder))
    expected = [
        stock(
            ["a chef"] * 8, negative_prompt=negative, num_inference_steps=2, guidance_scale=4.0, width=64, height=64,
            generator=[torch.Generator("cpu").manual_seed(7) for _ in range(8)],
        ).images[0].tobytes()
        for negative in (None, ["red"] * 8, [""] * 8)
    ]  # fmt: skip
    assert [bare.tobytes(), negated.tobytes()] == expected[:2] and encoded.tobytes() == bare.tobytes()
    assert (expected[0] == expected[2]) == (stands_for == "text")


ZEROS = "force_zeros_for_empty_prompt"


def test_what_a_model_does_not_read_is_counted(folder: Path) -> None:
    ours = stable_diffusion.load(str(folder), "", "ddim")
    assert ours.means(request()).empty_negative == ("zeros" if "sdxl" in str(folder) else "text")
    words = "a " * 80  # a token each, and two around them: 77 are read
    for text, negative, guidance, unread in [
        ("", "", 4.0, (0, 0)),
        ("a " * 75, "a", 4.0, (0, 0)),
        ("a " * 76, "", 4.0, (1, 0)),
        (words, words, 4.0, (5, 5)),
        ("a", "a a a", 1.0, (0, 3)),
        ("a", words, 0.0, (0, 80)),
    ]:
        means = ours.means(request(text, negative=negative, guidance=guidance))
        assert (means.unread, means.negative_unread) == unread, (text, negative, guidance)


def test_seeds_and_texts_decide_the_image(sd15_folder: Path) -> None:
    generator = generators.load(choice(sd15_folder))
    requests = [request("a chef", 0), request("a chef", 1), request("a wizard", 0), request("a chef", 0, guidance=9.0)]
    assert len({image.tobytes() for image in drawn(generator, requests)}) == 4


def test_batches_have_one_shape(sd15_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = stable_diffusion.load(str(sd15_folder), "", "ddim")
    shapes: list[int] = []
    forward = generator._pipeline.unet.forward
    monkeypatch.setattr(
        generator._pipeline.unet, "forward", lambda x, *a, **k: (shapes.append(len(x)), forward(x, *a, **k))[1]
    )
    drawn(generator, [request(seed=k) for k in range(11)])
    assert set(shapes) == {2 * generator.batch_size(64, 64)}  # guidance doubles a batch
    assert generator.batch_size(4096, 4096) == 1


def test_refused_and_overlong_prompts_are_content_errors_and_harm_nobody_else(sd15_folder: Path) -> None:
    generator = generators.load(choice(sd15_folder))
    good = drawn(generator, [request("a chef", 3)])[0]
    results = drawn(
        generator,
        [request("a nude child"), request("a chef", 3), request("x " * 50_000), request(negative="y " * 50_000)],
    )
    assert [isinstance(result, ContentError) for result in results] == [True, False, True, True]
    assert str(results[0]) == "refused: sexual content involving minors"
    assert "100,000 characters" in str(results[2])
    assert results[1].tobytes() == good.tobytes()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float("nan"), "NaN or infinite pixels in float32: its weights or its scheduler's settings are broken"),
        (float("inf"), "of one colour"),
        (-1.0, "all black"),
        (0.3, "of one colour"),
        (1.0, "of one colour"),
    ],
)
def test_what_shows_nothing_is_a_content_error(
    sd15_folder: Path, monkeypatch: pytest.MonkeyPatch, value: float, message: str
) -> None:
    generator = stable_diffusion.load(str(sd15_folder), "", "ddim")
    decode = generator._pipeline.vae.decode

    def spoil_the_first(latents: Any, **kwargs: Any) -> Any:
        (pixels,) = decode(latents, **kwargs)
        pixels[0] = value
        return (pixels,)

    monkeypatch.setattr(generator._pipeline.vae, "decode", spoil_the_first)
    bad, good = drawn(generator, [request(seed=1), request(seed=2)])
    assert isinstance(bad, ContentError) and message in str(bad)
    assert good.size == (64, 64)


@pytest.mark.parametrize(("precision", "dtype"), [("auto", "float32"), ("fp32", "float32"), ("bf16", "bfloat16")])
def test_the_precision_of_a_profile_is_that_of_the_weights_and_stands_in_the_row(
    folder: Path, precision: str, dtype: str
) -> None:
    ours = generators.load(choice(folder, precision=precision))
    (image,) = drawn(ours, [request(seed=7)])
    assert image.size == (64, 64)
    assert ours.means(request()).dtype == dtype
    parts = [part for name, part in ours._pipeline.components.items() if hasattr(part, "dtype")]
    assert {str(part.dtype) for part in parts} == {f"torch.{dtype}"} and len(parts) >= 3


def test_nan_in_half_precision_is_said_to_want_fp32(sd15_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = stable_diffusion.load(str(sd15_folder), "", "ddim", "bf16")
    monkeypatch.setattr(
        ours._pipeline.vae, "decode", lambda latents, **_: (latents.new_full((len(latents), 3, 64, 64), torch.nan),)
    )
    (result,) = drawn(ours, [request()])
    assert str(result) == ("the model gave NaN or infinite pixels in bfloat16: set the profile's precision to fp32")


def test_a_generator_that_knows_no_precision_refuses_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from datagen.generators import GENERATORS

    file = SimpleNamespace(load=lambda model, revision, scheduler: model, missing=print, needs=print)
    monkeypatch.setattr(type(GENERATORS), "module", lambda self, name: file)
    assert generators.load(choice("flat:red")) == "red"
    with pytest.raises(ModelError, match="generator of 'flat:red' knows no precision: leave it out"):
        generators.load(choice("flat:red", precision="fp32"))


def test_models_that_take_turns_are_loaded_once_and_one_at_a_time_is_on_the_device(
    sd15_folder: Path, sdxl_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []
    put_together = assembly.assemble
    monkeypatch.setattr(
        assembly, "assemble", lambda source, *rest: (loaded.append(source.name), put_together(source, *rest))[1]
    )
    first = [drawn(generators.load(choice(folder)), [request()])[0] for folder in (sd15_folder, sdxl_folder)]
    for _ in range(3):
        again = [drawn(generators.load(choice(folder)), [request()])[0] for folder in (sd15_folder, sdxl_folder)]
        assert [image.tobytes() for image in again] == [image.tobytes() for image in first]
    assert loaded == ["sd15", "sdxl"]
    one, two = (generators.load(choice(folder)) for folder in (sd15_folder, sdxl_folder))
    moves: list[tuple[str, object]] = []
    monkeypatch.setattr(assembly, "_at_work", [])
    gpu = SimpleNamespace(type="cuda")
    for engine in (one, two):
        engine._device = gpu
        engine._pipeline = SimpleNamespace(to=lambda where, name=engine.name: moves.append((name, where)))
    for engine in (one, one, two, one):
        engine._take_the_device()
    assert moves == [("sd15", gpu), ("sd15", "cpu"), ("sdxl", gpu), ("sdxl", "cpu"), ("sd15", gpu)]


def own_scheduler(folder: Path, kind: str, **settings: Any) -> None:
    """Give a model's folder another scheduler."""
    import diffusers

    from benchmarks.support.tiny_clip import NOISE

    cls = getattr(diffusers, kind)
    read = inspect.signature(cls).parameters
    cls(**{name: value for name, value in (NOISE | settings).items() if name in read}).save_pretrained(
        folder / "scheduler"
    )
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"scheduler": ["diffusers", kind]}))


@pytest.mark.parametrize(
    ("kind", "settings", "scheduler", "steps"),
    [
        ("DDIMScheduler", {}, "model", 1000),  # steps_offset leads it past the last of its 1,000 steps
        ("PNDMScheduler", {"skip_prk_steps": True}, "model", 1000),
        ("DDIMScheduler", {}, "ddim", 1001),
        ("DDIMScheduler", {}, "dpm++", 1000),  # NaN, and no error
        ("LCMScheduler", {}, "model", 60),
        ("UniPCMultistepScheduler", {}, "model", 1000),
        ("DDIMScheduler", {"prediction_type": "velocity"}, "model", 20),
    ],
)
def test_steps_that_a_scheduler_cannot_take_are_refused_before_anything_is_drawn(
    sd15_folder: Path, tmp_path: Path, kind: str, settings: dict[str, Any], scheduler: str, steps: int
) -> None:
    folder = Path(shutil.copytree(sd15_folder, tmp_path / "model"))
    own_scheduler(folder, kind, **settings)
    ours = stable_diffusion.load(str(folder), "", scheduler)
    with pytest.raises(ModelError, match=f"Scheduler cannot sample in {steps} steps .*: set other steps") as caught:
        drawn(ours, [request(steps=steps)])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [("EDMEulerScheduler", {}), ("EDMDPMSolverMultistepScheduler", {}), ("FlowMatchEulerDiscreteScheduler", {})],
)
@pytest.mark.parametrize("scheduler", ["ddim", "dpm++", "euler"])
def test_a_scheduler_that_would_take_the_models_noise_for_another_is_refused(
    sd15_folder: Path, tmp_path: Path, kind: str, settings: dict[str, Any], scheduler: str
) -> None:
    folder = Path(shutil.copytree(sd15_folder, tmp_path / "model"))
    own_scheduler(folder, kind, **settings)
    with pytest.raises(ModelError, match=rf"the noise of its {kind}, which .* set scheduler to model"):
        stable_diffusion.load(str(folder), "", scheduler)


@pytest.mark.parametrize("settings", [{"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}, {}])
@pytest.mark.parametrize("scheduler", ["ddim", "dpm++", "euler"])
def test_a_recipes_scheduler_keeps_what_the_model_predicts_and_its_noise(
    sd15_folder: Path, tmp_path: Path, settings: dict[str, Any], scheduler: str
) -> None:
    folder = Path(shutil.copytree(sd15_folder, tmp_path / "model"))
    own_scheduler(folder, "DDIMScheduler", **settings)
    values = json.loads(stable_diffusion.load(str(folder), "", scheduler).means(request()).scheduler_config)
    expected = {"prediction_type": "epsilon", "rescale_betas_zero_snr": False} | settings
    assert {name: values[name] for name in expected} == expected


def test_what_a_model_raises_while_it_draws_is_one_line(sd15_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = stable_diffusion.load(str(sd15_folder), "", "ddim")

    def fail(error: Exception) -> None:
        def forward(*args: Any, **kwargs: Any) -> None:
            raise error

        monkeypatch.setattr(ours._pipeline.unet, "forward", forward)

    fail(RuntimeError("expected 9 channels,\nbut got 4"))
    line = "sd15 does not draw 64×64 pixels in 2 steps with DDIMScheduler: expected 9 channels, but got 4"
    with pytest.raises(ModelError, match=line):
        drawn(ours, [request()])
    fail(torch.OutOfMemoryError("CUDA out of memory"))  # another attempt may have the room
    with pytest.raises(torch.OutOfMemoryError):
        drawn(ours, [request()])


def test_a_size_that_the_model_cannot_make(sd15_folder: Path) -> None:
    with pytest.raises(ModelError, match="multiples of 8, not 60×64"):
        drawn(generators.load(choice(sd15_folder)), [request(width=60)])


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no weights": (
        lambda f: [p.unlink() for p in f.glob("*/*.safetensors")],
        "text_encoder has no weights",
    ),
    "one part": (lambda f: [p.unlink() for p in f.glob("vae/*.safetensors")], "vae has no weights"),
    "pickle": (
        lambda f: [p.rename(p.with_suffix(".bin")) for p in f.glob("unet/*.safetensors")],
        "a pickle can run code and is not read",
    ),
    "no index": (lambda f: (f / "model_index.json").unlink(), "no model_index.json"),
    "index no JSON": (lambda f: (f / "model_index.json").write_text("{"), "is not JSON"),
    "other pipeline": (
        lambda f: (f / "model_index.json").write_text('{"_class_name": "FluxPipeline"}'),
        "FluxPipeline",
    ),
    "truncated": (
        lambda f: [p.write_bytes(p.read_bytes()[:5000]) for p in f.glob("unet/*.safetensors")],
        "is cut short or no safetensors file",
    ),
    "config": (lambda f: (f / "unet/config.json").write_text("{}}"), "unet/config.json is not JSON"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_model_is_told_in_one_line(sd15_folder: Path, tmp_path: Path, damage: str) -> None:
    harm, message = DAMAGE[damage]
    folder = Path(shutil.copytree(sd15_folder, tmp_path / "model"))
    harm(folder)
    with pytest.raises(ModelError, match=message) as caught:
        generators.load(choice(folder))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


MISFITS: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "other names": (
        "sd15", lambda f: misfits.rewrite(f / "text_encoder", misfits.prefixed("encoder.")), "text_encoder .* missing",
    ),
    "a layer missing": (
        "sd15", lambda f: misfits.rewrite(f / "text_encoder", misfits.without("layers.1.")), "text_encoder .* missing",
    ),
    "more layers asked for": (
        "sd15", lambda f: misfits.reset(f / "text_encoder/config.json", num_hidden_layers=9), "encoder .* missing",
    ),
    "no projection": (
        "sdxl",
        lambda f: misfits.rewrite(f / "text_encoder_2", misfits.without("text_projection")),
        r"text_encoder_2 .* 1 missing \(text_projection.weight\)",
    ),
    "a U-Net of a checkpoint": (
        "sd15", lambda f: misfits.rewrite(f / "unet", misfits.prefixed("model.diffusion_model.")), "unet .* missing",
    ),
    "half a VAE": (
        "sdxl", lambda f: misfits.rewrite(f / "vae", misfits.without("decoder.mid_block")), "vae .* missing",
    ),
    "NaN": (
        "sd15",
        lambda f: misfits.rewrite(f / "text_encoder", lambda held: {k: v * torch.nan for k, v in held.items()}),
        "text_encoder .* hold NaN",
    ),
    "a U-Net for inpainting": (
        "sd15", lambda f: misfits.reset(f / "unet/config.json", in_channels=9), "reads 9 channels",
    ),
}  # fmt: skip


@pytest.mark.parametrize("misfit", MISFITS)
def test_weights_that_do_not_fill_their_model_draw_nothing(
    misfit: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    family, hurt, message = MISFITS[misfit]
    folder = misfits.copy(request.getfixturevalue(f"{family}_folder"), tmp_path)
    hurt(folder)
    with pytest.raises(ModelError, match=message) as caught:
        generators.load(choice(folder))
    assert "\n" not in str(caught.value)


def test_fewer_layers_than_the_file_holds_draw_and_stand_in_the_row(sd15_folder: Path, tmp_path: Path) -> None:
    folder = misfits.copy(sd15_folder, tmp_path)
    misfits.reset(folder / "text_encoder/config.json", num_hidden_layers=2)
    ours = stable_diffusion.load(str(folder), "", "ddim")
    assert drawn(ours, [request()])[0].size == (64, 64)
    assert ours.means(request()).notes == (
        "text_encoder in sd15 has 2 layers; its file holds 1 more, which are not read"
    )
    assert stable_diffusion.load(str(sd15_folder), "", "ddim").means(request()).notes == ""


def test_a_model_that_is_there_as_a_variant_alone_is_read_and_that_is_said(folder: Path, tmp_path: Path) -> None:
    copied = misfits.copy(folder, tmp_path)
    expected = drawn(stable_diffusion.load(str(folder), "", "ddim"), [request(seed=3)])[0].tobytes()
    for path in copied.glob("*/*.safetensors"):
        path.rename(path.with_suffix(".fp16.safetensors"))
    ours = stable_diffusion.load(str(copied), "", "ddim")
    assert drawn(ours, [request(seed=3)])[0].tobytes() == expected
    notes = ours.means(request()).notes
    assert "read from the variant fp16, as there is no other" in notes and str(tmp_path) not in notes


def test_a_vae_in_the_place_of_the_models_own(sd15_folder: Path, tmp_path: Path) -> None:
    import diffusers

    vae = Path(shutil.copytree(sd15_folder / "vae", tmp_path / "other-vae"))
    misfits.rewrite(vae, lambda tensors: {name: value * 1.3 for name, value in tensors.items()})
    asked = [request(seed=k, batch_size=8) for k in range(8)]
    plain = drawn(generators.load(choice(sd15_folder)), asked)[0]
    ours = generators.load(choice(sd15_folder, vae=str(vae)))
    assert ours.means(asked[0]).vae == f"other-vae@{models.find_vae(str(vae)).revision}"
    assert ours.revision == models.find(str(sd15_folder)).revision
    image = drawn(ours, asked)[0]
    other = diffusers.AutoencoderKL.from_pretrained(vae)
    stock = in_our_layout(diffusers.StableDiffusionPipeline.from_pretrained(sd15_folder, vae=other))
    stock.scheduler = diffusers.DDIMScheduler.from_config(stock.scheduler.config, clip_sample=False)
    expected = stock(
        ["a chef"] * 8, num_inference_steps=2, guidance_scale=4.0, width=64, height=64,
        generator=[torch.Generator("cpu").manual_seed(k) for k in range(8)],
    ).images[0]  # fmt: skip
    assert image.tobytes() == expected.tobytes() != plain.tobytes()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scaling_factor": 0.13025}, "its scaling_factor is 0.13025, that of the model's own 0.18215"),
        ({"shift_factor": 0.1}, "its shift_factor is 0.1, that of the model's own None"),
        ({"latents_mean": [0.0] * 4, "latents_std": [2.0] * 4}, "its latents_mean is "),
    ],
)
def test_a_vae_of_another_family_is_refused(
    sd15_folder: Path, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    vae = Path(shutil.copytree(sd15_folder / "vae", tmp_path / "other-vae"))
    misfits.reset(vae / "config.json", **settings)
    with pytest.raises(ModelError, match=f"the VAE other-vae is not of this model's family: {message}"):
        generators.load(choice(sd15_folder, vae=str(vae)))


@pytest.mark.parametrize("model", ["/nowhere/at/all", "./nowhere", "nonsense"])
def test_a_folder_that_is_not_there(model: str) -> None:
    with pytest.raises(ModelError, match="there is no folder"):
        generators.load(choice(model))


def test_a_hub_id_is_served_from_the_cache_without_a_network(
    sd15_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import diffusers

    seen: list[bool] = []

    def download(model: str, *, revision: str | None, local_files_only: bool, **kwargs: Any) -> str:
        seen.append(local_files_only)
        return str(shutil.copytree(sd15_folder, tmp_path / "snapshots" / "0123abc"))

    monkeypatch.setattr(diffusers.DiffusionPipeline, "download", download)
    generator = generators.load(choice("someone/some-model"))
    assert (generator.name, generator.revision, seen) == ("someone/some-model", "0123abc", [True])


def test_a_hub_id_without_cache_or_network(monkeypatch: pytest.MonkeyPatch) -> None:
    import diffusers

    def download(model: str, *, local_files_only: bool, **kwargs: Any) -> str:
        raise OSError("not cached" if local_files_only else "no\nnetwork")

    monkeypatch.setattr(diffusers.DiffusionPipeline, "download", download)
    monkeypatch.setattr(hub, "unreachable", lambda: "no network")
    with pytest.raises(ModelError, match="someone/some-model .* cannot be downloaded: no network;") as caught:
        generators.load(choice("someone/some-model"))
    assert "\n" not in str(caught.value)


def test_the_revision_of_a_folder_follows_its_weights_not_its_place(sd15_folder: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(sd15_folder, tmp_path / "sd15"))
    before = models.find(str(sd15_folder))
    assert models.find(str(copied)).revision == before.revision
    assert models.find(str(copied)).name == "sd15"
    weights = copied / "unet" / "diffusion_pytorch_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert models.find(str(copied)).revision != before.revision


def test_a_model_is_loaded_once_a_process(sd15_folder: Path) -> None:
    assert generators.load(choice(sd15_folder)) is generators.load(choice(sd15_folder))


def test_no_safety_checker_and_no_watermark(folder: Path) -> None:
    pipeline = stable_diffusion.load(str(folder), "", "model")._pipeline
    assert getattr(pipeline, "safety_checker", None) is None
    assert getattr(pipeline, "watermark", None) is None


def starve(ours: Any, monkeypatch: pytest.MonkeyPatch, most: int, error: Exception) -> list[int]:
    """Let the U-Net run out of memory on more than `most` rows; the rows that it was given."""
    forward, seen = ours._pipeline.unet.forward, list[int]()

    def limited(latents: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(len(latents))
        if len(latents) > most:
            raise error
        return forward(latents, *args, **kwargs)

    monkeypatch.setattr(ours._pipeline.unet, "forward", limited)
    return seen


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_without_memory_batches_are_halved_for_good_and_rows_say_so(
    sd15_folder: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    ours = stable_diffusion.load(str(sd15_folder), "", "ddim")
    requests = [request(f"a chef {k}", k) for k in range(5)]
    expected = drawn(ours, requests)
    assert (ours.means(requests[0]).batch_size, ours.means(requests[0]).notes) == (16, "")
    seen = starve(ours, monkeypatch, 2 * 2, error)
    made = drawn(ours, requests)
    assert seen[:3] == [32, 16, 8] and set(seen[3:]) == {4}
    means = ours.means(requests[0])
    assert means.batch_size == 2
    assert means.notes == "made in batches of 2 instead of 16, as the memory did not hold more"
    assert ours.means(request(width=96)).batch_size == 16  # of another size nothing is known
    for image, other in zip(made, expected, strict=True):
        assert np.abs(np.asarray(image).astype(int) - np.asarray(other).astype(int)).max() <= 2
    seen.clear()
    assert [image.tobytes() for image in drawn(ours, requests)] == [image.tobytes() for image in made]
    assert set(seen) == {4}


def test_what_was_drawn_before_memory_ran_out_keeps_its_batch(
    sd15_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = stable_diffusion.load(str(sd15_folder), "", "ddim")
    seen = starve(ours, monkeypatch, 32, torch.OutOfMemoryError("none left"))
    sizes = []
    for place, _ in ours.generate([request(seed=k) for k in range(32)]):
        sizes.append(ours.means(request()).batch_size)
        if place == 15:
            seen = starve(ours, monkeypatch, 16, torch.OutOfMemoryError("none left"))
    assert sizes == [16] * 16 + [8] * 16 and len(seen) > 0


def test_one_picture_that_the_memory_does_not_hold_is_the_shards_failure(
    sd15_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = stable_diffusion.load(str(sd15_folder), "", "ddim")
    starve(ours, monkeypatch, 0, torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(torch.OutOfMemoryError):
        drawn(ours, [request()])
    assert ours.means(request()).batch_size == 1


def test_a_batch_size_that_is_asked_for_is_that_of_the_row(sd15_folder: Path) -> None:
    ours = stable_diffusion.load(str(sd15_folder), "", "ddim")
    for size in (1, 3, 8, 20):
        assert ours.means(request(batch_size=size)).batch_size == size
    assert drawn(ours, [request(seed=3, batch_size=16)])[0].tobytes() == drawn(ours, [request(seed=3)])[0].tobytes()
