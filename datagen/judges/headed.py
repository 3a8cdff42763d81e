"""Judges that are a small head on an embedding: their version, and the head that is one affine map."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from datagen import judges
from datagen.judges.backbones import rows
from datagen.judges.vectors import along, collapsed
from datagen.weights import heads

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from datagen.judges.protocol import Backbone
    from datagen.weights.heads import Arrays

WIDTHS = (1024, 128, 64, 16, 1)  # of the layers that published aesthetic heads have


class Headed:
    """A judge whose version is its own (`ours`), its head's arrays and its backbone, which `needs` names."""

    def __init__(self, ours: str, head: Arrays, needs: Backbone) -> None:
        self._ours, self._head, self.needs = ours, head, needs

    @functools.cached_property
    def version(self) -> str:
        """Ours, the head's and the model's."""
        return f"{self._ours}:{heads.identity(self._head)}:{self.needs.identity}"


class Affine(Headed):
    """w·e + b of the embedding e of length 1: linear layers in a row without activations, computed as one."""

    name: str

    def __init__(self, ours: str, head: Arrays, needs: Backbone, layers: Sequence[str] = ("",)) -> None:
        super().__init__(ours, head, needs)
        self._affine = collapsed([(head[f"{layer}weight"], head[f"{layer}bias"]) for layer in layers])

    def score(self, images: NDArray[np.float32], prompts: Sequence[str]) -> judges.Scores:
        """(N,) float64, whatever the prompts; it never abstains."""
        weight, bias = self._affine
        rows.check_width(self.name, images, weight.shape[1])
        found: NDArray[np.float64] = along(images, weight)[:, 0] + bias
        return found


def shapes(layers: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """What the arrays of an aesthetic head are called and how large they are, by the prefixes of its layers."""
    into = (heads.ANY, *WIDTHS)
    weights = {f"{layer}weight": (WIDTHS[k], into[k]) for k, layer in enumerate(layers)}
    return weights | {f"{layer}bias": (WIDTHS[k],) for k, layer in enumerate(layers)}
