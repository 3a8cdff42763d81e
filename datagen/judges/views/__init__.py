"""Views: how a decoded picture becomes the pixels that a network reads, each equal to its reference's preprocessing.

Pillow and NumPy only. Pictures come from `datagen.images.decode`: RGB, upright, transparency over white. References
differ among themselves in that, and some turn palettes and transparency into RGB after they resize; for pictures that
are RGB all agree with these views, as tests/judges/views holds.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable
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


def normalise(batch: NDArray[Any], view: View) -> NDArray[np.float32]:
    """(N, H, W, 3) pixels of a view → (N, 3, H, W) float32, to the last bit as the references do it."""
    if batch.dtype == np.uint8:
        found = np.empty((len(batch), 3, *batch.shape[1:3]), np.float32)
        for channel, values in enumerate(table(view)):
            values.take(batch[..., channel], out=found[:, channel], mode="clip")
        return found
    scaled = (batch - np.array(view.mean, np.float32)) / np.array(view.std, np.float32)
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2), dtype=np.float32)


@functools.lru_cache(maxsize=16)
def table(view: View) -> NDArray[np.float32]:
    """(3, 256) float32: what each byte of each channel becomes, for batches that are normalised elsewhere."""
    share = (np.arange(256) / 255).astype(np.float32)
    return np.stack([(share - np.float32(m)) / np.float32(s) for m, s in zip(view.mean, view.std, strict=True)])
