"""How a network embeds many inputs: in batches of one fixed size, so that no row depends on its company."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from datagen import judges
from datagen.errors import ModelError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BATCH = 32
Precision = Literal["float32", "bfloat16", "float16"]
REMEMBERED = 20_000  # text embeddings kept a process


class Options(judges.Options):
    """`precision` is that of a network's products; its weights, and all that is done to embeddings, stay in float32.

    The lower ones are for speed on a GPU, and scores are near the reference's then, but not its own.
    """

    precision: Precision = "float32"


def suffix(precision: Precision) -> str:
    """What a lower precision adds to the name of a network: embeddings of two precisions are not compared."""
    return "" if precision == "float32" else f":{precision}"


def batched(network: Any, encode: Callable[..., Any], *inputs: Any, size: int, precision: Precision) -> Any:
    """What a network makes of N rows of each input, in batches of exactly `size`: (N, …) on its device.

    Without TF32.
    """
    import torch

    made, device = [], next(network.parameters()).device
    lower = torch.autocast(device.type, getattr(torch, precision), enabled=precision != "float32")
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False), lower:
        for some in zip(*(rows.split(size) for rows in inputs), strict=True):
            short = size - len(some[0])
            whole = [torch.cat([rows, rows[-1:].expand(short, *rows.shape[1:])]) if short else rows for rows in some]
            made.append(encode(*(rows.to(device) for rows in whole))[: len(some[0])])
    return torch.cat(made)


def embed(
    network: Any, encode: Callable[[Any], Any], inputs: Any, precision: Precision = "float32"
) -> NDArray[np.float32]:
    """(N, width) float32 of a tensor of N inputs, encoded in batches of exactly BATCH."""
    found: NDArray[np.float32] = (
        batched(network, encode, inputs, size=BATCH, precision=precision).float().cpu().numpy()
    )
    return found


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
