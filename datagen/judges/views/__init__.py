"""Views: how a decoded picture becomes the pixels that a network reads, each equal to its reference's preprocessing.

Pillow and NumPy only. Pictures come from `datagen.images.decode`: RGB, upright, transparency over white. References
differ among themselves in that, and some turn palettes and transparency into RGB after they resize; for pictures that
are RGB all agree with these views, as tests/judges/views holds.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from datagen.judges.views import rules
from datagen.judges.views.steps import BICUBIC, BILINEAR, BLACK

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

    from datagen.judges.views.rules import Rule
    from datagen.judges.views.steps import Pixels

Triple = tuple[float, float, float]
CLIP_MEAN: Triple = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD: Triple = (0.26862954, 0.26130258, 0.27577711)
HALF: Triple = (0.5, 0.5, 0.5)
FINER = 2  # times a view's size: at its size alone, scores differ twice as much
NONE: tuple[Triple, Triple] = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)


@dataclasses.dataclass(frozen=True)
class View:
    """How a picture becomes pixels, and how those are normalised. A value: hashable, picklable.

    `shape` is (H, W, 3), None where it depends on the picture. Pixels are uint8, or float32 in 0…1 and a little beyond
    where the reference resizes floats.
    """

    name: str = dataclasses.field(compare=False)
    rule: Rule
    shape: tuple[int, int, int] | None
    mean: Triple = CLIP_MEAN
    std: Triple = CLIP_STD

    def __call__(self, image: Image) -> Pixels:
        """The pixels of an RGB picture, not normalised yet."""
        return make(image, [self])[self]


def clip_hf(size: int = 224) -> View:
    """Hugging Face's CLIP processor by way of Pillow: PickScore, the Stable Diffusion safety checker, LLaVA (336)."""
    return View(f"clip_hf({size})", rules.Shortest(size, round_half_even=False), (size, size, 3))


def clip_torchvision(
    size: int = 224,
    *,
    mode: Literal["shortest", "squash", "longest"] = "shortest",
    interpolation: Literal["bicubic", "bilinear"] = "bicubic",
    mean: Triple = CLIP_MEAN,
    std: Triple = CLIP_STD,
    colour: tuple[int, int, int] = BLACK,
) -> View:
    """torchvision's: OpenAI's clip, ImageReward, and open_clip with what stands in its `preprocess_cfg`."""
    filter = {"bicubic": BICUBIC, "bilinear": BILINEAR}[interpolation]
    rule: Rule
    match mode:
        case "shortest":
            rule = rules.Shortest(size, round_half_even=True, filter=filter)
        case "squash":
            rule = rules.Squash(size, filter)
        case "longest":
            rule = rules.Longest(size, colour, filter)
    return View(f"clip_torchvision({size}, {mode}, {interpolation})", rule, (size, size, 3), mean, std)


def open_clip(config: Mapping[str, Any]) -> View:
    """What an open_clip model asks for in its `preprocess_cfg`; ValueError for what no view of ours is equal to."""
    sizes = config["size"] if isinstance(config["size"], (list, tuple)) else (config["size"],) * 2
    fill = config.get("fill_color") or 0
    if sizes[0] != sizes[1] or config["interpolation"] not in ("bicubic", "bilinear"):
        raise ValueError(f"size {config['size']} with {config['interpolation']} is not supported")
    return clip_torchvision(
        int(sizes[0]),
        mode=config["resize_mode"],
        interpolation=config["interpolation"],
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        colour=tuple(fill) if isinstance(fill, (list, tuple)) else (fill,) * 3,
    )


def squash(size: int = 384) -> View:
    """SigLIP's: aesthetic v2.5."""
    return View(f"squash({size})", rules.Squash(size), (size, size, 3), HALF, HALF)


def letterbox_float(size: int = 224, *, legacy_no_antialias: bool = False) -> View:
    """HPSv2's. `legacy_no_antialias`: as torchvision before 0.17 resized tensors."""
    name = f"letterbox_float({size}{', no antialias' if legacy_no_antialias else ''})"
    return View(name, rules.FloatLongest(size, antialias=not legacy_no_antialias), (size, size, 3))


def pad_square(size: int = 336) -> View:
    """LLaVA's with `image_aspect_ratio` "pad", in CLIP's mean colour: VQAScore."""
    red, green, blue = (int(255 * part) for part in CLIP_MEAN)
    return View(f"pad_square({size})", rules.PaddedSquare(size, (red, green, blue)), (size, size, 3))


def smart_resize(min_pixels: int = 256 * 28 * 28, max_pixels: int = 256 * 28 * 28, factor: int = 28) -> View:
    """Qwen2-VL's; both bounds are HPSv3's. The pixels' size depends on the picture's."""
    return View(f"smart_resize({min_pixels}, {max_pixels})", rules.Smart(factor, min_pixels, max_pixels), None)


def letterbox_bottom_right(size: int = 320) -> View:
    """NudeNet's, in RGB; its package feeds its network BGR, which is `pixels[..., ::-1]`."""
    return View(f"letterbox_bottom_right({size})", rules.Corner(size), (size, size, 3), *NONE)


def make(image: Image, views: Iterable[View]) -> dict[View, Pixels]:
    """The pixels of an RGB picture in each view. Steps that views have in common are taken once.

    On squares, for example, all of CLIP's are one array.
    """
    done: dict[tuple[Any, ...], Any] = {(): image}
    found = {}
    for view in views:
        steps: tuple[Any, ...] = (*view.rule(*image.size), np.asarray)
        for count, step in enumerate(steps, 1):
            if steps[:count] not in done:
                done[steps[:count]] = step(done[steps[: count - 1]])
        found[view] = done[steps]
        found[view].flags.writeable = False
    return found


def enough(views: Iterable[View | None]) -> int | None:
    """The pixels that a picture's sides may shrink to before it is seen; None where it must be seen as it is."""
    shapes = [view.shape if view else None for view in views]
    return max((FINER * max(shape) for shape in shapes if shape), default=None) if all(shapes) else None


def normalise(batch: Iterable[NDArray[Any]], view: View) -> NDArray[np.float32]:
    """(H, W, 3) pixels of a view, all of one shape → (N, 3, H, W) float32, to the last bit as the references do it.

    Judges that read the same pixels share the batch, so it is not to be written to.
    """
    images = list(batch)
    for made in _SHARED:
        if made.is_of(images, view):
            return made.values
    found = _normalised(images, view)
    if not any(pixels.flags.writeable for pixels in images):  # those that `make` gives
        _SHARED.append(_Batch(images, view, found))
    return found


@dataclasses.dataclass(frozen=True)
class _Batch:
    """Pixels with what became of them."""

    images: list[NDArray[Any]]
    view: View
    values: NDArray[np.float32]

    def is_of(self, images: list[NDArray[Any]], view: View) -> bool:
        """Whether the same pixels, not only equal ones, would be normalised alike."""
        alike = (view.mean, view.std, len(images)) == (self.view.mean, self.view.std, len(self.images))
        return alike and all(one is other for one, other in zip(images, self.images, strict=True))


_SHARED: collections.deque[_Batch] = collections.deque(maxlen=2)  # a panel seldom has more views of one chunk


def _normalised(images: list[NDArray[Any]], view: View) -> NDArray[np.float32]:
    found = np.empty((len(images), 3, *images[0].shape[:2]), np.float32)
    mean, std = (np.array(values, np.float32)[:, None, None] for values in (view.mean, view.std))
    for pixels, made in zip(images, found, strict=True):  # each by itself stays in the processor's cache
        made[...] = pixels.transpose(2, 0, 1)
        if pixels.dtype == np.uint8:
            made /= np.float32(255)
        made -= mean
        made /= std
    return found
