"""Each view against its reference's own preprocessing, on pictures of every shape and kind."""

from __future__ import annotations

import io
import pickle

import numpy as np
import open_clip.transform
import pytest
import torch
import torchvision.transforms.functional as functional
import transformers
from PIL import Image

from datagen.images.decode import decode
from datagen.judges import views
from datagen.judges.views import View

SIZES = [(96, 96), (64, 64), (1216, 832), (832, 1216), (300, 1200), (1200, 300), (227, 513), (224, 224), (224, 300),
         (1021, 767), (333, 2), (97, 500), (512, 512), (640, 320)]  # fmt: skip


def picture(width: int, height: int) -> Image.Image:
    """Smooth waves, hard edges and noise, so that no rounding can hide."""
    rng = np.random.default_rng(width * 10_000 + height)
    y, x = np.mgrid[:height, :width]
    waves = 120 + 90 * np.sin(x[..., None] / (3.0, 7.0, 31.0)) * np.cos(y[..., None] / (5.0, 11.0, 17.0))
    waves[(x // 9 + y // 13) % 3 == 0] = (255, 0, 250)
    return Image.fromarray((waves + rng.normal(0, 20, waves.shape)).clip(0, 255).astype(np.uint8))


PICTURES = {f"{width}x{height}": picture(width, height) for width, height in SIZES}
LARGE = {"4096x4096": (4096, 4096), "4096x1024": (4096, 1024)}


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def of_kinds() -> dict[str, bytes]:
    """Files whose pixels are not plain RGB."""
    rgb, turned = picture(300, 200), Image.Exif()
    turned[0x0112] = 6
    clear = rgb.convert("RGBA")
    clear.putalpha(rgb.convert("L"))
    return {
        "grey": encoded(rgb.convert("L"), "PNG"),
        "palette": encoded(rgb.convert("P", palette=Image.Palette.ADAPTIVE), "PNG"),
        "rgba": encoded(clear, "PNG"),
        "jpeg": encoded(rgb, "JPEG", quality=92),
        "turned": encoded(rgb, "JPEG", quality=92, exif=turned.tobytes()),
        "webp": encoded(rgb, "WEBP", lossless=True),
    }


KINDS = of_kinds()


def clip_hf(image: Image.Image, size: int) -> np.ndarray:
    processor = transformers.CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size=size)
    return processor(image, return_tensors="np")["pixel_values"][0]


def by_open_clip(image: Image.Image, size: int, **options: object) -> np.ndarray:
    return open_clip.transform.image_transform(size, is_train=False, **options)(image).numpy()


def siglip(image: Image.Image, size: int) -> np.ndarray:
    processor = transformers.SiglipImageProcessorPil(size={"height": size, "width": size})
    return processor(image, return_tensors="np")["pixel_values"][0]


def llava(image: Image.Image, size: int) -> np.ndarray:
    options = {"size": {"shortest_edge": size}, "crop_size": {"height": size, "width": size}, "do_pad": True}
    processor = transformers.models.llava.image_processing_pil_llava.LlavaImageProcessorPil(**options)
    return processor(image, return_tensors="np")["pixel_values"][0]


def hpsv2(image: Image.Image, size: int, antialias: bool, dtype: torch.dtype) -> np.ndarray:
    """As its transform.py computes it: tensor, longest side, black bars, then the mean and the deviation."""
    tensor = functional.to_tensor(image).to(dtype)
    scale = size / max(tensor.shape[1:])
    high, wide = (round(side * scale) for side in tensor.shape[1:])
    if scale != 1:
        bicubic = functional.InterpolationMode.BICUBIC
        tensor = functional.resize(tensor, [max(1, high), max(1, wide)], bicubic, antialias=antialias)
    across, down = size - tensor.shape[2], size - tensor.shape[1]
    tensor = functional.pad(tensor, [across // 2, down // 2, across - across // 2, down - down // 2], fill=0)
    return functional.normalize(tensor, views.CLIP_MEAN, views.CLIP_STD).numpy()


def qwen(image: Image.Image) -> np.ndarray:
    """The processor's patches laid out as a picture again."""
    pixels = 256 * 28 * 28
    processor = transformers.models.qwen2_vl.image_processing_pil_qwen2_vl.Qwen2VLImageProcessorPil(
        size={"shortest_edge": pixels, "longest_edge": pixels}
    )
    found = processor(image, return_tensors="np")
    _, high, wide = found["image_grid_thw"][0]
    patches = found["pixel_values"].reshape(high // 2, wide // 2, 2, 2, 3, 2, 14, 14)[..., 0, :, :]
    return patches.transpose(4, 0, 2, 5, 1, 3, 6).reshape(3, high * 14, wide * 14)


def seen(image: Image.Image, view: View) -> np.ndarray:
    return views.normalise(view(image)[None], view)[0]


def check_all(image: Image.Image, raw: Image.Image | None = None) -> None:
    """Every view of a picture to the last bit; a reference that turns pictures into RGB itself is given `raw`."""
    raw = raw or image
    for size in (32, 224, 336):
        np.testing.assert_array_equal(seen(image, views.clip_hf(size)), clip_hf(raw, size))
    for size in (64, 224):
        np.testing.assert_array_equal(seen(image, views.clip_torchvision(size)), by_open_clip(image, size))
    np.testing.assert_array_equal(seen(image, views.squash(384)), siglip(raw, 384))
    np.testing.assert_array_equal(seen(image, views.pad_square(336)), llava(raw, 336))
    np.testing.assert_array_equal(seen(image, views.smart_resize()), qwen(raw))


@pytest.mark.parametrize("image", PICTURES.values(), ids=PICTURES)
def test_views_equal_their_references_to_the_last_bit(image: Image.Image) -> None:
    check_all(image)


@pytest.mark.parametrize("size", LARGE.values(), ids=LARGE)
def test_views_of_large_pictures_equal_their_references(size: tuple[int, int]) -> None:
    image = Image.fromarray(np.tile(picture(1024, 1024), (size[1] // 1024, size[0] // 1024, 1)))
    np.testing.assert_array_equal(seen(image, views.clip_hf()), clip_hf(image, 224))
    np.testing.assert_array_equal(seen(image, views.clip_torchvision()), by_open_clip(image, 224))
    if size[0] != size[1]:
        np.testing.assert_array_equal(seen(image, views.pad_square()), llava(image, 336))


@pytest.mark.parametrize("name", [name for name in KINDS if name != "turned"])
def test_references_that_turn_files_into_rgb_themselves_see_the_same(name: str) -> None:
    with Image.open(io.BytesIO(KINDS[name])) as raw:
        check_all(decode(KINDS[name]), raw)


def test_torchvision_references_of_grey_pictures_are_equal_though_they_make_them_rgb_last() -> None:
    with Image.open(io.BytesIO(KINDS["grey"])) as raw:
        np.testing.assert_array_equal(seen(decode(KINDS["grey"]), views.clip_torchvision()), by_open_clip(raw, 224))


def test_a_picture_that_exif_turns_is_seen_upright_where_references_see_it_lying() -> None:
    with Image.open(io.BytesIO(KINDS["turned"])) as raw:
        upright = raw.convert("RGB").transpose(Image.Transpose.ROTATE_270)
    check_all(decode(KINDS["turned"]), upright)


@pytest.mark.parametrize("image", PICTURES.values(), ids=PICTURES)
@pytest.mark.parametrize("mode", ["shortest", "squash", "longest"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_what_open_clip_models_ask_for_is_equal_to_the_last_bit(
    image: Image.Image, mode: str, interpolation: str
) -> None:
    if mode == "longest" and min(image.size) * 224 < max(image.size):
        pytest.skip("a side would be 0 pixels, which torchvision refuses")
    view = views.clip_torchvision(224, mode=mode, interpolation=interpolation, mean=views.HALF, std=views.HALF)
    half = [0.5] * 3
    options = {"resize_mode": mode, "interpolation": interpolation, "mean": half, "std": half}
    np.testing.assert_array_equal(seen(image, view), by_open_clip(image, 224, **options))


# PyTorch computes places and weights in the tensor's type: of float32 a place near 1000 is 6e-5 of a pixel off, which
# at a hard edge is 2e-4 of a normalised value. Ours are float64, as PyTorch's are for a tensor of float64.
@pytest.mark.parametrize("image", PICTURES.values(), ids=PICTURES)
@pytest.mark.parametrize("antialias", [True, False])
def test_hpsv2s_letterbox_is_equal_but_for_the_rounding_of_its_weights(image: Image.Image, antialias: bool) -> None:
    view = views.letterbox_float(224, legacy_no_antialias=not antialias)
    ours = seen(image, view)
    np.testing.assert_allclose(ours, hpsv2(image, 224, antialias, torch.float64), atol=3e-6, rtol=0)
    np.testing.assert_allclose(ours, hpsv2(image, 224, antialias, torch.float32), atol=5e-4, rtol=0)


def test_hpsv2s_letterbox_keeps_what_bicubic_overshoots_and_bars_are_black_before_the_mean_is_taken() -> None:
    view, image = views.letterbox_float(), picture(1200, 600)
    pixels = view(image)
    assert pixels.dtype == np.float32 and (pixels < 0).any() and (pixels > 1).any()
    assert not pixels[:56].any() and not pixels[-56:].any() and pixels[56:-56].any()
    black = -np.array(views.CLIP_MEAN, np.float32) / np.array(views.CLIP_STD, np.float32)
    np.testing.assert_array_equal(views.normalise(pixels[None], view)[0, :, 0, 0], black)


def bilinear(image: Image.Image, size: int) -> np.ndarray:
    """The two nearest pixels each way of the padded picture, by floats and a pixel at a time."""
    pixels = np.asarray(image, np.float64)
    square = max(pixels.shape[:2])
    padded = np.zeros((square, square, 3))
    padded[: pixels.shape[0], : pixels.shape[1]] = pixels
    found = np.zeros((size, size, 3))
    places = np.clip((np.arange(size) + 0.5) * square / size - 0.5, 0, square - 1)
    for row, y in enumerate(places):
        for column, x in enumerate(places):
            top, left = int(y), int(x)
            down, right = min(top + 1, square - 1), min(left + 1, square - 1)
            upper = padded[top, left] * (1 - x + left) + padded[top, right] * (x - left)
            lower = padded[down, left] * (1 - x + left) + padded[down, right] * (x - left)
            found[row, column] = upper * (1 - y + top) + lower * (y - top)
    return found


@pytest.mark.parametrize("size", [(500, 300), (64, 64), (300, 900), (128, 128), (64, 3)])
def test_nudenets_letterbox_is_linear_interpolation_within_its_rounding(size: tuple[int, int]) -> None:
    image = picture(*size)
    pixels = views.letterbox_bottom_right(64)(image)
    assert pixels.dtype == np.uint8
    assert np.abs(pixels - bilinear(image, 64)).max() <= 1


# What OpenCV 5.0 makes of ramps: enlarged, reduced, and halved, where it takes means; the first channel.
OF_OPENCV = {
    (4, 3, 6): [
        [0, 55, 129, 203, 152, 82],
        [97, 89, 100, 175, 123, 53],
        [183, 134, 97, 143, 105, 56],
        [145, 179, 197, 132, 150, 185],
        [68, 95, 111, 65, 81, 109],
        [0, 0, 0, 0, 0, 0],
    ],
    (9, 5, 4): [[125, 96, 64, 62], [149, 85, 52, 51], [0, 0, 0, 0], [0, 0, 0, 0]],
    (8, 8, 4): [[123, 157, 128, 99], [79, 176, 147, 118], [98, 69, 166, 137], [117, 88, 185, 156]],
}


@pytest.mark.parametrize("sizes", OF_OPENCV)
def test_nudenets_letterbox_rounds_as_opencv_does(sizes: tuple[int, int, int]) -> None:
    width, height, side = sizes
    ramp = (np.arange(height * width * 3) * 37 % 251).astype(np.uint8).reshape(height, width, 3)
    assert views.letterbox_bottom_right(side)(Image.fromarray(ramp))[..., 0].tolist() == OF_OPENCV[sizes]


def test_views_of_squares_are_one_array_and_one_resize_serves_both_roundings_of_a_cut() -> None:
    a, b, c = views.clip_hf(), views.clip_torchvision(), views.clip_torchvision(mode="squash")
    found = views.make(picture(300, 300), [a, b, c])
    assert found[a] is found[b] is found[c]
    apart = views.make(picture(1216, 832), [a, b])
    assert (apart[a] != apart[b]).any()
    np.testing.assert_array_equal(apart[a][:, 1:], apart[b][:, :-1])  # 51 and 52 pixels cut from the left


def test_pixels_that_judges_share_cannot_be_written_to() -> None:
    for view in (views.clip_hf(), views.letterbox_float(), views.letterbox_bottom_right()):
        with pytest.raises(ValueError, match="read-only"):
            view(picture(96, 96))[0] = 1


def test_every_byte_is_normalised_as_both_libraries_do() -> None:
    pixels = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    for view in (views.clip_hf(), views.squash()):
        ours = views.normalise(pixels[None], view)
        theirs = functional.normalize(functional.to_tensor(pixels), view.mean, view.std)
        np.testing.assert_array_equal(ours[0], theirs.numpy())
        processor = transformers.CLIPImageProcessorPil(
            do_resize=False, do_center_crop=False, image_mean=view.mean, image_std=view.std
        )
        np.testing.assert_array_equal(ours, processor(pixels, return_tensors="np")["pixel_values"])


def test_a_picture_may_shrink_to_twice_the_largest_view_unless_one_depends_on_its_size() -> None:
    assert views.enough([views.clip_hf(32), views.squash(48)]) == 96
    assert views.enough([views.clip_hf(32), views.smart_resize()]) is None
    assert views.enough([views.clip_hf(32), None]) is None
    assert views.enough([]) is None


def test_a_view_is_a_value_that_travels_to_workers() -> None:
    for view in (views.clip_hf(), views.squash(), views.letterbox_float(), views.smart_resize()):
        copy = pickle.loads(pickle.dumps(view))
        assert copy == view and hash(copy) == hash(view)
    assert views.clip_hf(224) == views.clip_hf() != views.clip_hf(336)


def test_shapes_are_what_a_view_says() -> None:
    for view in (views.clip_hf(), views.clip_torchvision(32), views.squash(), views.letterbox_float(),
                 views.pad_square(), views.letterbox_bottom_right()):  # fmt: skip
        for image in PICTURES.values():
            assert view(image).shape == view.shape
    assert views.smart_resize().shape is None


def test_the_narrowest_pictures_are_seen_without_a_giant_square() -> None:
    for size in ((6000, 12), (12, 6000), (1, 500), (500, 1)):
        image = Image.new("RGB", size, (200, 10, 10))
        for view in (views.pad_square(), views.letterbox_bottom_right(), views.letterbox_float(), views.squash()):
            assert view(image).shape == view.shape
        assert min(views.smart_resize()(image).shape[:2]) >= 28


def test_judges_that_read_the_same_pixels_share_a_batch() -> None:
    """Views of a square have their pixels in common; those of another picture, or normalised otherwise, are anew."""
    square, wide = (Image.new("RGB", size, "olive") for size in ((300, 300), (300, 200)))
    hugging_face, torchvision, half = (
        views.clip_hf(),
        views.clip_torchvision(),
        views.clip_torchvision(mean=views.HALF),
    )
    made = views.make(square, [hugging_face, torchvision, half])
    batch = views.normalise([made[hugging_face]], hugging_face)
    assert views.normalise([made[torchvision]], torchvision) is batch
    assert views.normalise([made[half]], half) is not batch
    assert views.normalise([made[torchvision]] * 2, torchvision) is not batch
    other = views.normalise([views.make(wide, [torchvision])[torchvision]], torchvision)
    assert other is not batch and (other == batch).all()


def test_pixels_that_may_change_are_never_shared() -> None:
    pixels, view = np.full((224, 224, 3), 7, np.uint8), views.clip_hf()
    before = views.normalise([pixels], view)
    pixels[:] = 9
    assert (views.normalise([pixels], view) > before).all()
