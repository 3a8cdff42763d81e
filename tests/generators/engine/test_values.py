"""Value encoders in our sampling: what the guide draws by a stock pipeline, in any company; and what is refused."""

from __future__ import annotations

import dataclasses
import functools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shared_file
import torch

from datagen import generators
from datagen.errors import ModelError
from datagen.generators import replay, stable_diffusion
from datagen.generators.protocol import ContentError, Request
from datagen.images import encode
from datagen.recipe import JudgeChoice, Profile
from datagen.records import Image
from datagen.weights import identity
from training.inference.value_guide import ValueGuide
from training.models import diffusion
from training.trainables.livo import LivoTrainable

CRACKS, SMOKE = "cracks considered inappropriate", "smoke considered inappropriate"
FAMILIES = [("sd15_folder", 0), ("sd15_folder", 2), ("sd2_folder", 0), ("sdxl_folder", 0)]


def value_encoder(model: Path, folder: Path, rank: int) -> Path:
    """What LiVO training writes, unlike the text encoder that it began as."""
    torch.manual_seed(1)
    trainable = LivoTrainable(diffusion.load(str(model)), leak_penalty=0.0, rank=rank)
    with torch.no_grad():
        for weight in trainable.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    trainable.save(folder)
    return folder


@dataclasses.dataclass(frozen=True)
class Made:
    model: Path
    folder: Path
    load: Any  # our generator of the model, by what else a profile sets


@pytest.fixture(scope="module")
def sd2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Stable Diffusion 2 in small, which predicts v by a text encoder of another activation."""
    pipe = shared_file.pipeline("sd2")
    pipe.scheduler = pipe.scheduler.from_config(pipe.scheduler.config, prediction_type="v_prediction")
    folder = tmp_path_factory.mktemp("sd2")
    pipe.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=FAMILIES, ids=lambda given: f"{given[0]}-{given[1]}")
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    name, rank = request.param
    model = request.getfixturevalue(name)
    folder = value_encoder(model, tmp_path_factory.mktemp("values") / "livo", rank)
    stable_diffusion.load.cache_clear()
    kept = functools.cache(functools.partial(stable_diffusion.load.__wrapped__, str(model), "", "model"))
    yield Made(model, folder, kept)
    stable_diffusion.load.cache_clear()


def asked(principles: list[str], guidance: float = 4.0) -> list[Request]:
    texts = ["a chef in a park", "a doctor", "a wizard " + "word " * 100]
    return [
        Request(texts[k % 3], "plain", 7 + k, 3, guidance, 64, 64, principle=principle)
        for k, principle in enumerate(principles)
    ]


def pixels(generator: Any, requests: list[Request]) -> list[Any]:
    return [np.asarray(image).astype(int) for image in generators.in_order(generator, requests)]


def by_guide(made: Made, requests: list[Request]) -> Any:
    """The same by the stock pipeline and training's guide, whose width for several principles is one here."""
    import diffusers

    kind: Any = diffusers.DiffusionPipeline
    pipe = kind.from_pretrained(made.model)
    pipe.set_progress_bar_config(disable=True)
    guide = ValueGuide(pipe, made.folder)
    embeds = guide(
        [one.text for one in requests],
        [one.principle or None for one in requests],
        [one.negative for one in requests],
    )
    return pipe(
        **embeds, num_inference_steps=3, guidance_scale=requests[0].guidance, width=64, height=64, output_type="np",
        generator=[torch.Generator("cpu").manual_seed(one.seed) for one in requests],
    ).images  # fmt: skip


@pytest.mark.parametrize("guidance", [4.0, 0.0])
def test_images_are_those_of_the_guide_in_a_stock_pipeline(made: Made, guidance: float) -> None:
    generator, requests = made.load(adapters=(str(made.folder),)), asked([CRACKS, SMOKE, CRACKS, ""], guidance)
    ours = pixels(generator, requests)
    for image, stock in zip(ours, by_guide(made, requests), strict=True):
        assert np.abs(image - 255 * stock).max() <= 1.01
    plain = pixels(made.load(), requests)
    assert [bool((image != base).any()) for image, base in zip(ours, plain, strict=True)] == [True] * 3 + [False]


def test_an_image_is_the_same_in_any_company_and_says_what_steered_it(made: Made) -> None:
    generator = made.load(adapters=(str(made.folder),))
    requests = asked([CRACKS, "", SMOKE, "", CRACKS])
    together = pixels(generator, requests)
    for request, image in zip(requests, together, strict=True):
        (alone,) = pixels(generator, [request])
        assert (alone == image).all()
        means = generator.means(request)
        assert json.loads(means.options) == ({"principle": request.principle} if request.principle else {})
        folders = sorted(path for path in made.folder.iterdir() if path.is_dir())
        assert means.adapter == f"livo@{identity.folders(folders)}"
    assert json.loads(made.load().means(requests[0]).options) == {}  # who has no encoder reads no principle


def test_a_row_is_drawn_again_by_its_principle(made: Made) -> None:
    generator, (request,) = made.load(adapters=(str(made.folder),)), asked([CRACKS])
    (drawn,) = generators.in_order(generator, [request])
    given = {name: getattr(request, name) for name in ("text", "negative", "seed", "steps", "guidance")}
    row = Image(
        image_id="i", prompt_id="p", side="chosen", index=0, **given, width=64, height=64, generator=generator.name,
        generator_revision=generator.revision, image=encode.encode(drawn, "webp"),
        **dataclasses.asdict(generator.means(request)),
    )  # fmt: skip
    profile = Profile(
        model=str(made.model), adapters=(str(made.folder),), scheduler="model", steps=3, guidance=4.0,
        width=64, height=64, taxonomy="t", grammar="g", judges=(JudgeChoice(name="clip"),),
    )  # fmt: skip
    assert replay.replay(row, profile).largest == 0
    other = dataclasses.replace(row, options=json.dumps({"principle": SMOKE}))
    assert (replay.replay(other, profile).largest or 0) > 0
    with pytest.raises(ModelError, match="its adapter was livo@"):
        replay.replay(row, profile.model_copy(update={"adapters": ()}))


def test_a_principle_is_held_against_the_rules_of_safety(made: Made) -> None:
    request = dataclasses.replace(asked([CRACKS])[0], principle="sexual content with a child preferred")
    (result,) = generators.in_order(made.load(adapters=(str(made.folder),)), [request])
    assert isinstance(result, ContentError) and str(result).startswith("refused")


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"adapters": ("{livo}", "{livo}")}, "livo and livo are each a value encoder"),
        ({"adapters": ("{livo}@0.5",)}, "has no scale"),
        ({"adapters": ("{livo}",), "long_prompts": "windows"}, "cut at what the model reads"),
        ({"adapters": ("{livo}",), "compile": True}, "not compiled"),
        ({"adapters": ("{other}",)}, "value encoder"),
        ({"adapters": ("{empty}",)}, "value encoder"),
        ({"adapters": ("{pickle}",)}, "value encoder"),
        ({"adapters": ("{cut}",)}, "is cut short or no safetensors file"),
    ],
)
def test_what_cannot_be_is_one_line(wanted: dict[str, Any], words: str, sd15_folder: Path, tmp_path: Path) -> None:
    livo = value_encoder(sd15_folder, tmp_path / "livo", 2)
    for name in ("other", "empty", "pickle", "cut"):
        shutil.copytree(livo, tmp_path / name)
    shutil.copytree(livo / "value_encoder", tmp_path / "other/value_encoder_2")
    for name in ("empty", "pickle", "cut"):
        (tmp_path / name / "value_encoder/adapter_model.safetensors").unlink()
    (tmp_path / "pickle/value_encoder/adapter_model.bin").write_bytes(b"x")
    (tmp_path / "cut/value_encoder/adapter_model.safetensors").write_bytes(b"x")
    places = {name: str(tmp_path / name) for name in ("livo", "other", "empty", "pickle", "cut")}
    given = {**wanted, "adapters": tuple(one.format(**places) for one in wanted["adapters"])}
    with pytest.raises(ModelError) as caught:
        stable_diffusion.load.__wrapped__(str(sd15_folder), "", "model", **given)
    assert words in str(caught.value) and "\n" not in str(caught.value)
