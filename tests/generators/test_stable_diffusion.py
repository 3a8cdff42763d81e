import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from datagen import generators, models
from datagen.errors import ModelError
from datagen.generators import stable_diffusion
from datagen.generators.protocol import ContentError, Request


def request(text: str = "a chef", seed: int = 0, **changes: Any) -> Request:
    values: dict[str, Any] = {"negative": "", "steps": 2, "guidance": 4.0, "width": 64, "height": 64}
    return Request(text=text, seed=seed, **(values | changes))


def choice(model: object, scheduler: str = "ddim") -> Any:
    return SimpleNamespace(model=str(model), revision="", scheduler=scheduler)


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    stable_diffusion.load.cache_clear()
    yield
    stable_diffusion.load.cache_clear()


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


@pytest.mark.parametrize("scheduler", ["ddim", "dpm++", "euler", "model"])
def test_equals_the_stock_pipeline_on_the_same_latents(folder: Path, scheduler: str) -> None:
    import diffusers

    ours = generators.load(choice(folder, scheduler))
    (image,) = ours.generate([request("a chef in the park", 7, negative="plain picture")])
    name = json.loads((folder / "model_index.json").read_text())["_class_name"]
    stock = getattr(diffusers, name).from_pretrained(folder)
    kinds = {"ddim": "DDIMScheduler", "dpm++": "DPMSolverMultistepScheduler", "euler": "EulerDiscreteScheduler"}
    if scheduler in kinds:
        stock.scheduler = getattr(diffusers, kinds[scheduler]).from_config(stock.scheduler.config)
        if scheduler == "ddim":
            stock.scheduler.register_to_config(clip_sample=False)
    stock.set_progress_bar_config(disable=True)
    expected = stock(
        "a chef in the park", negative_prompt="plain picture", num_inference_steps=2, guidance_scale=4.0,
        width=64, height=64, generator=torch.Generator("cpu").manual_seed(7),
    ).images[0]  # fmt: skip
    means = ours.means(request())
    assert means.scheduler == type(stock.scheduler).__name__
    rebuilt = getattr(diffusers, means.scheduler).from_config(json.loads(means.scheduler_config))
    # What another class of scheduler had in its config, and this one does not read, is not among its settings.
    assert all(stock.scheduler.config[k] == value for k, value in rebuilt.config.items() if k[0] != "_")
    assert (means.dtype, means.batch_size) == ("float32", 8)
    # Another batch shape may round the last bit of a pixel otherwise.
    assert np.abs(np.asarray(image).astype(int) - np.asarray(expected).astype(int)).max() <= 1


def test_an_image_does_not_depend_on_its_batch(folder: Path) -> None:
    generator = generators.load(choice(folder))
    together = [image.tobytes() for image in generator.generate(MIXED)]
    backwards = [image.tobytes() for image in generator.generate(MIXED[::-1])][::-1]
    alone = [generator.generate([one])[0].tobytes() for one in MIXED[::3]]
    assert together == backwards
    assert together[::3] == alone
    assert len(set(together)) == len(MIXED)


def test_an_ancestral_scheduler_does_not_depend_on_its_batch_either(sd15_folder: Path) -> None:
    import diffusers

    generator = stable_diffusion.load(str(sd15_folder), "", "euler")
    config = generator._pipeline.scheduler.config
    generator._pipeline.scheduler = diffusers.EulerAncestralDiscreteScheduler.from_config(config)
    together = [image.tobytes() for image in generator.generate(MIXED)]
    assert together[::5] == [generator.generate([one])[0].tobytes() for one in MIXED[::5]]


def test_the_embedded_world_makes_the_same_image_alone_and_in_a_batch() -> None:
    generator = generators.load(choice("embedded"))
    together = [image.tobytes() for image in generator.generate(MIXED)]
    assert together[::5] == [generator.generate([one])[0].tobytes() for one in MIXED[::5]]
    assert generator.name == "embedded"


def test_the_embedded_world_makes_the_same_image_with_any_number_of_threads() -> None:
    engine = stable_diffusion.load("embedded", "", "ddim")
    request = Request("a chef with a red ball in a park", "", 7, 4, 4.0, 64, 64)
    images = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            images.append(engine.generate([request])[0].tobytes())
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert images[0] == images[1] == images[2]


def test_seeds_and_texts_decide_the_image(sd15_folder: Path) -> None:
    generator = generators.load(choice(sd15_folder))
    requests = [request("a chef", 0), request("a chef", 1), request("a wizard", 0), request("a chef", 0, guidance=9.0)]
    assert len({image.tobytes() for image in generator.generate(requests)}) == 4


def test_batches_have_one_shape(sd15_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = stable_diffusion.load(str(sd15_folder), "", "ddim")
    shapes: list[int] = []
    forward = generator._pipeline.unet.forward
    monkeypatch.setattr(
        generator._pipeline.unet, "forward", lambda x, *a, **k: (shapes.append(len(x)), forward(x, *a, **k))[1]
    )
    generator.generate([request(seed=k) for k in range(11)])
    assert set(shapes) == {2 * generator.batch_size(64, 64)}  # guidance doubles a batch
    assert generator.batch_size(4096, 4096) == 1


def test_refused_and_overlong_prompts_are_content_errors_and_harm_nobody_else(sd15_folder: Path) -> None:
    generator = generators.load(choice(sd15_folder))
    good = generator.generate([request("a chef", 3)])[0]
    results = generator.generate(
        [request("a nude child"), request("a chef", 3), request("x " * 50_000), request(negative="y " * 50_000)]
    )
    assert [isinstance(result, ContentError) for result in results] == [True, False, True, True]
    assert str(results[0]) == "refused: sexual content involving minors"
    assert "100,000 characters" in str(results[2])
    assert results[1].tobytes() == good.tobytes()


@pytest.mark.parametrize(("value", "message"), [(float("nan"), "NaN"), (-1.0, "black")])
def test_nan_and_black_images_are_content_errors(
    sd15_folder: Path, monkeypatch: pytest.MonkeyPatch, value: float, message: str
) -> None:
    generator = stable_diffusion.load(str(sd15_folder), "", "ddim")
    decode = generator._pipeline.vae.decode

    def spoil_the_first(latents: Any, **kwargs: Any) -> Any:
        (pixels,) = decode(latents, **kwargs)
        pixels[0] = value
        return (pixels,)

    monkeypatch.setattr(generator._pipeline.vae, "decode", spoil_the_first)
    bad, good = generator.generate([request(seed=1), request(seed=2)])
    assert isinstance(bad, ContentError) and message in str(bad)
    assert good.size == (64, 64)


def test_a_size_that_the_model_cannot_make(sd15_folder: Path) -> None:
    with pytest.raises(ModelError, match="multiples of 8, not 60×64"):
        generators.load(choice(sd15_folder)).generate([request(width=60)])


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no weights": (
        lambda f: [p.unlink() for p in f.glob("*/*.safetensors")],
        "no weights for unet, vae, text_encoder",
    ),
    "one part": (lambda f: [p.unlink() for p in f.glob("vae/*.safetensors")], "no weights for vae"),
    "pickle": (
        lambda f: [p.rename(p.with_suffix(".bin")) for p in f.glob("unet/*.safetensors")],
        "pickles are not read",
    ),
    "no index": (lambda f: (f / "model_index.json").unlink(), "no model_index.json"),
    "index no JSON": (lambda f: (f / "model_index.json").write_text("{"), "is not JSON"),
    "other pipeline": (
        lambda f: (f / "model_index.json").write_text('{"_class_name": "FluxPipeline"}'),
        "FluxPipeline",
    ),
    "truncated": (
        lambda f: [p.write_bytes(p.read_bytes()[:5000]) for p in f.glob("unet/*.safetensors")],
        "does not load",
    ),
    "config": (lambda f: (f / "unet/config.json").write_text("{}}"), "does not load"),
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


@pytest.mark.parametrize("model", ["/nowhere/at/all", "./nowhere", "nonsense"])
def test_a_folder_that_is_not_there(model: str) -> None:
    with pytest.raises(ModelError, match="there is no folder"):
        generators.load(choice(model))


def test_a_single_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"x")
    with pytest.raises(ModelError, match="give a diffusers folder"):
        generators.load(choice(tmp_path / "model.safetensors"))


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
    with pytest.raises(ModelError, match="someone/some-model .* no network; .* profile embedded") as caught:
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
