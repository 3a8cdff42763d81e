"""LAION's NSFW detector: how probably a picture is not safe for work, by a small network on its CLIP embedding."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from datagen import judges
from datagen.judges.backbones import clip_l, rows
from datagen.judges.headed import Headed
from datagen.judges.vectors import in_blocks, sigmoid
from datagen.weights import heads
from datagen.weights.published import File

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

VERSION = "2"
WEIGHTS = File("nsfw", "LAION-AI/CLIP-based-NSFW-Detector", "clip_autokeras_binary_nsfw.zip", "905520bb")
VARIABLES = "variables/variables.data-00000-of-00001"  # in the zip
WIDTHS = (768, 64, 512, 256, 1)
SHAPES: dict[str, tuple[int, ...]] = {"mean": (768,), "variance": (768,)}
SHAPES |= {f"kernel{k}": (WIDTHS[k - 1], WIDTHS[k]) for k in range(1, 5)}  # as Keras has them, in × out
SHAPES |= {f"bias{k}": (WIDTHS[k],) for k in range(1, 5)}
# Bytes at which the published file has each; what lies between is Keras' own count.
OFFSETS = {"mean": 0, "variance": 3072, "kernel1": 6152, "bias1": 202760, "kernel2": 203016, "bias2": 334088}
OFFSETS |= {"kernel3": 336136, "bias3": 860424, "kernel4": 861448, "bias4": 862472}
# Keras took these columns for categories and looks their numbers up as words, of which no embedding in fp32 is one:
# the network sees 0 there, whatever stands in them, and their mean and variance are those of the words' numbers.
CONSTANT = [180, 316, 413, 440, 644]
EPSILON = 1e-7  # the least that Keras divides by

Options = clip_l.Options


class Judge(Headed):
    """Four layers on the standardised embedding of length 1, in float32; LAION cuts at about 0.5 and at 0.93.

    `weights` is the published zip, or a file with mean, variance, kernel1…4 and bias1…4 as Keras has them.
    """

    name = "nsfw"
    scale = 5.0  # from one end of its range to the other
    facts = judges.Facts(
        code_license="MIT",
        weights_license="MIT",
        reference="LAION-AI/CLIP-based-NSFW-Detector (ViT-L/14)",
        higher_is_better=False,
        reads_text=False,
        absolute=True,
    )

    def __init__(self, options: clip_l.Options) -> None:
        path = WEIGHTS.find(options.weights)
        if path.suffix == ".zip":
            head = heads.read_zipped(path, VARIABLES, OFFSETS, SHAPES, WEIGHTS.digest)
        else:
            head = heads.read(path, SHAPES)
        super().__init__(VERSION, head, clip_l.find(options.model, options.precision))

    def score(self, images: NDArray[np.float32], prompts: Sequence[str]) -> judges.Scores:
        """(N,) float64, the probability that a picture is not safe for work, whatever the prompts; never abstains."""
        rows.check_width(self.name, images, WIDTHS[0])
        return sigmoid(in_blocks(self._logits, images)[:, 0])

    def _logits(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, 1) of (N, 768), which are brought to length 1 after the first product, where they are narrower.

        NumPy's products depend on a row's place, torch's of one size do not.
        """
        import torch

        with torch.inference_mode():
            given = torch.from_numpy(x)
            lengths = torch.linalg.vector_norm(given, dim=1, keepdim=True)
            (kernel, bias), *others = self._layers
            found = (given @ kernel).div_(lengths.masked_fill_(lengths == 0, 1)).add_(bias)
            for kernel, bias in others:
                found = torch.addmm(bias, found.relu_(), kernel)
        logits: NDArray[np.float32] = found.numpy()
        return logits

    @functools.cached_property
    def _layers(self) -> list[tuple[Any, Any]]:
        """Kernel and bias of each layer as tensors; the first standardises, too, and reads 0 in constant columns."""
        import torch

        head = {name: torch.from_numpy(array).double() for name, array in self._head.items()}
        layers = [(head[f"kernel{k}"], head[f"bias{k}"]) for k in range(1, len(WIDTHS))]
        kernel = layers[0][0] / head["variance"].sqrt().clamp(min=EPSILON)[:, None]
        layers[0] = kernel.clone(), layers[0][1] - head["mean"] @ kernel
        layers[0][0][CONSTANT] = 0
        return [(kernel.float(), bias.float()) for kernel, bias in layers]
