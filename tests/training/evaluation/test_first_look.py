"""Pictures that show nothing are left out with their pair, counted and named; NaN is never handed over as black."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.image_processor import VaeImageProcessor
from PIL import Image

from training.errors import TrainingError
from training.evaluation.first_look import is_blank, look
from training.evaluation.pictures import Pictures, Round
from training.inference.sampling import Job, generate


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


def flat(colour: str, size: tuple[int, int] = (64, 64)) -> Image.Image:
    return Image.new("RGB", size, colour)


def scene(seed: int, colour: str = "black") -> Image.Image:
    image = flat(colour)
    image.paste(flat("orange", (20, 30)), (seed % 40, 10))
    return image


def hot_pixel() -> Image.Image:
    image = flat("black", (512, 512))
    image.putpixel((100, 100), (255, 255, 255))
    return image


def grain() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 3, (64, 64, 3)).astype(np.uint8))


@pytest.mark.parametrize("image", [flat("black"), flat("white"), flat("#7f3010"), hot_pixel(), grain()])
def test_pictures_of_one_colour_are_blank(image: Image.Image) -> None:
    assert is_blank(image)
    jpeg = Image.open(io.BytesIO(encoded(image, "JPEG")), formats=["JPEG"])
    assert is_blank(jpeg)


@pytest.mark.parametrize("image", [scene(0), scene(3, "white"), Image.linear_gradient("L").convert("RGB")])
def test_pictures_that_show_little_are_not(image: Image.Image) -> None:
    assert not is_blank(image)


def pictures(*images: Image.Image) -> Pictures:
    data = [encoded(image) for image in images]
    return Pictures([f"{i}.png" for i in range(len(data))], data.__getitem__)


def test_a_blank_picture_leaves_with_its_pair() -> None:
    base = pictures(scene(0), flat("black"), scene(2), scene(3))
    adapted = pictures(scene(0), scene(1), flat("black"), scene(5))
    seen = look(Round([0, 0, 1, 1], {"base": base, "adapted": adapted}, ("said",)))
    assert seen.blank == {"base": ["1.png"], "adapted": ["2.png"]}
    assert seen.round.prompt_of == [0, 1] and seen.round.notes == ("said",)
    assert [made.names for made in seen.round.arms.values()] == [["0.png", "3.png"]] * 2
    assert np.array_equal(np.asarray(seen.round.arms["adapted"][1]), np.asarray(scene(5)))
    assert seen.pixels is not None and seen.pixels[0] == 0 < seen.pixels[1]


def test_one_arm_has_no_distances() -> None:
    seen = look(Round([0, 0], {"base": pictures(scene(0), flat("grey"))}))
    assert (seen.blank, seen.pixels, seen.round.prompt_of) == ({"base": ["1.png"]}, None, [0])


@pytest.mark.parametrize("colour", ["black", "white", "grey"])
def test_where_nothing_is_left_there_are_no_figures(colour: str) -> None:
    base, adapted = pictures(scene(0), scene(1)), pictures(flat(colour), flat(colour))
    with pytest.raises(TrainingError, match=r"2 of 2 pictures of the adapted arm are of one colour, first 0\.png"):
        look(Round([0, 0], {"base": base, "adapted": adapted}))


def pipe(*made: np.ndarray) -> Any:
    """A pipeline that gives these pictures, as diffusers would decode them."""
    processor = VaeImageProcessor()

    def call(**given: Any) -> Any:
        latents = torch.from_numpy(np.stack(made)).permute(0, 3, 1, 2)
        return SimpleNamespace(images=processor.postprocess(latents, output_type=given["output_type"]))

    class Pipe(SimpleNamespace):
        __call__ = staticmethod(call)

    return Pipe(image_processor=processor)


def drawn(*made: np.ndarray, prompts: Sequence[str] = ("a chef", "a cat")) -> list[Image.Image]:
    jobs = [Job(i % 2, 40 + i) for i in range(len(made))]
    return generate(pipe(*made), prompts, jobs, steps=1, guidance=1.0, batch=8, label="adapted, seed 3")


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1.2, 1.2, (8, 8, 3)).astype(np.float32)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda p: np.full_like(p, np.nan),
        lambda p: np.where(np.arange(8)[:, None, None] == 3, np.nan, p),
        lambda p: np.where(np.arange(192).reshape(8, 8, 3) == 100, np.nan, p),
    ],
    ids=["all", "a row", "one number"],
)
def test_a_picture_that_is_not_finite_stops_and_is_named(spoil: Callable[[np.ndarray], np.ndarray]) -> None:
    with pytest.raises(TrainingError, match="^[^\n]*$") as caught:
        drawn(noise(0), spoil(noise(1)).astype(np.float32), noise(2))
    assert "adapted, seed 3: the picture of 'a cat', seed 41, is not made of finite numbers (1 of 3" in str(
        caught.value
    )


def test_finite_pictures_are_what_the_pipeline_gives() -> None:
    made = noise(0), noise(1)
    stock = pipe(*made)(output_type="pil").images
    assert all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in zip(drawn(*made), stock, strict=True))


def test_folders_say_what_is_missing(tmp_path: Path) -> None:
    from training.evaluation import pictures as module

    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "a.png").write_bytes(encoded(scene(0)))
    (tmp_path / "captions.csv").write_text("file_name,prompt\na.png,x\nb.png,y\nc.png,z\n")
    _, made = module.from_folders(str(tmp_path / "base"), None, str(tmp_path / "captions.csv"))
    assert made.notes == (
        f"{tmp_path / 'captions.csv'} names 2 pictures that are not in {tmp_path / 'base'}, first b.png",
    )
