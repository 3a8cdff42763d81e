"""How a network embeds many inputs: in batches of one fixed size, so that no row depends on its company."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from datagen.errors import ModelError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BATCH = 32
REMEMBERED = 20_000  # text embeddings kept a process


def embed(network: Any, encode: Callable[[Any], Any], inputs: Any) -> NDArray[np.float32]:
    """(N, width) float32 of a tensor of N inputs, encoded in batches of exactly BATCH, in float32 without TF32."""
    import numpy as np
    import torch

    parts, device = [], next(network.parameters()).device
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        for batch in inputs.split(BATCH):
            padded = torch.cat([batch, batch[-1:].expand(BATCH - len(batch), *batch.shape[1:])])
            parts.append(encode(padded.to(device))[: len(batch)].float().cpu().numpy())
    return np.concatenate(parts)


class Remembered:
    """Texts that are embedded once a process; when there are too many, all are forgotten."""

    def __init__(self, encode: Callable[[list[str]], NDArray[np.float32]]) -> None:
        self._encode = encode
        self._known: dict[str, NDArray[np.float32]] = {}

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(N, width) of at least one text."""
        import numpy as np

        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if len(self._known) + len(new) > REMEMBERED:
            self._known.clear()
            new = list(dict.fromkeys(texts))
        if new:
            self._known.update(zip(new, self._encode(new), strict=True))
        return np.stack([self._known[text] for text in texts])


def check_width(judge: str, images: NDArray[np.float32], width: int) -> None:
    """Raise ModelError if weights do not read embeddings of this width."""
    if images.shape[1] != width:
        raise ModelError(
            f"the weights of the judge {judge} read embeddings of {width} numbers, and its model gives "
            f"{images.shape[1]}: they belong to different models"
        )
