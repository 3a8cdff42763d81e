"""HPSv3: what people prefer of a prompt, by a Qwen2-VL-7B (Ma et al. 2025, arXiv 2508.03789)."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from datagen import judges
from datagen.judges import views
from datagen.judges.networks import hpsv3_files, vlm
from datagen.weights.published import File, Folder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from datagen.judges.networks.hpsv3 import Scorer

VERSION = "1"
WEIGHTS = File("hpsv3", "the hub's MizzenAI/HPSv3", "HPSv3.safetensors")
BASE = Folder("hpsv3", "Qwen/Qwen2-VL-7B-Instruct", option="base", under="qwen2-vl")
NARROWEST = 200  # times as long as wide: Qwen2-VL reads nothing beyond


class Options(judges.Options):
    """`weights` is the published file or its folder, `base` the folder of Qwen2-VL-7B-Instruct without its weights; ""
    is where `datagen doctor` looks.

    `rubric` is dataset/data_collator_qwen.py of the package hpsv3, which has the text that it asks with; "" is the one
    beside the weights or of the installed package. "auto" is bfloat16 on a GPU, as its reference, else float32.
    """

    weights: str = ""
    base: str = ""
    rubric: str = ""
    precision: Literal["auto", "float32", "float16", "bfloat16"] = "auto"


class Judge:
    """mu, about -5 to 11 with the published weights; 2000 characters of a text are read, and it never abstains."""

    name = "hpsv3"
    scale = 1.0  # it was trained so that the sigmoid of the difference is about the chance to be preferred
    facts = judges.Facts(
        code_license="MIT",
        weights_license="not stated on their card that we know of: look there; Apache-2.0 for Qwen2-VL-7B",
        reference="hpsv3 1.0.0 (transformers 4.45.2)",
    )

    def __init__(self, options: Options) -> None:
        self._precision = options.precision
        self._source = hpsv3_files.find(WEIGHTS.find(options.weights), BASE.find(options.base), options.rubric)
        self.needs = views.smart_resize()

    @functools.cached_property
    def version(self) -> str:
        """Ours, the precision and the weights'."""
        return f"{VERSION}:{vlm.precision(self._precision, 'bfloat16')}:{self._source.identity}"

    @functools.cached_property
    def _scorer(self) -> Scorer:
        from datagen.judges.networks import hpsv3

        return hpsv3.load(self._source, vlm.precision(self._precision, "bfloat16"))

    def score(self, images: Sequence[NDArray[Any]], prompts: Sequence[str]) -> list[float | judges.Failed]:
        """(N,) float64; of a picture that is too narrow for the network a failure."""
        fit = [max(pixels.shape[:2]) <= NARROWEST * min(pixels.shape[:2]) for pixels in images]
        some = [pair for pair, good in zip(zip(images, prompts, strict=True), fit, strict=True) if good]
        said = iter(self._scorer.score([image for image, _ in some], [text for _, text in some])[:, 0].tolist())
        narrow = judges.Failed(f"the picture is more than {NARROWEST} times as long as wide, which HPSv3 cannot read")
        return [next(said) if good else narrow for good in fit]
