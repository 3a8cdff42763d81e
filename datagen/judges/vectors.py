"""Arithmetic on embeddings, in float64 whatever they were computed in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BLOCK = 128  # rows


def unit(vectors: NDArray[Any]) -> NDArray[np.float64]:
    """(N, D) rows brought to length 1; a row of zeros stays one."""
    import numpy as np

    rows = np.asarray(vectors, dtype=np.float64)
    return rows / lengths(rows)[:, None]


def cosines(images: NDArray[Any], texts: NDArray[Any]) -> NDArray[np.float64]:
    """(N,) cosines of rows, -1…1."""
    import numpy as np

    found: NDArray[np.float64] = np.einsum("nd,nd->n", unit(images), unit(texts))
    return found


def lengths(vectors: NDArray[Any]) -> NDArray[np.float64]:
    """(N,) lengths of rows; 1 of a row of zeros, so that it can be divided by."""
    import numpy as np

    rows = np.asarray(vectors, np.float64)
    found: NDArray[np.float64] = np.sqrt(np.einsum("nd,nd->n", rows, rows))
    return np.where(found == 0, 1, found)


def along(vectors: NDArray[Any], directions: NDArray[Any]) -> NDArray[np.float64]:
    """(N, K) products of (N, D) rows, brought to length 1, with (K, D) rows as they are. No row depends on another."""
    import numpy as np

    rows = np.asarray(vectors, np.float64)
    found: NDArray[np.float64] = np.einsum("nd,kd->nk", rows, np.asarray(directions, np.float64))
    return found / lengths(rows)[:, None]


def collapsed(layers: Sequence[tuple[NDArray[Any], NDArray[Any]]]) -> tuple[NDArray[np.float64], float]:
    """Weight (1, D) and bias of linear layers in a row without activations, of which the last gives one number."""
    import numpy as np

    weight, bias = (np.asarray(value, np.float64) for value in layers[0])
    for next_weight, next_bias in layers[1:]:
        above = np.asarray(next_weight, np.float64)
        weight, bias = above @ weight, above @ bias + next_bias
    return weight, float(bias[0])


def sigmoid(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Of each logit, whatever its size."""
    import numpy as np

    found: NDArray[np.float64] = 0.5 + 0.5 * np.tanh(0.5 * np.asarray(logits, np.float64))
    return found


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, K) shares of each row, 1 together."""
    import numpy as np

    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    found: NDArray[np.float64] = raised / raised.sum(axis=1, keepdims=True)
    return found


def in_blocks(function: Callable[[NDArray[Any]], NDArray[Any]], rows: NDArray[Any]) -> NDArray[Any]:
    """What a function gives for (N, D) rows, BLOCK at a time: matrix products of one size, so that no row depends on
    how many others there are."""
    import numpy as np

    blocks = [np.ascontiguousarray(rows[start : start + BLOCK]) for start in range(0, len(rows), BLOCK)] or [rows]
    short = BLOCK - len(blocks[-1])
    blocks[-1] = np.concatenate([blocks[-1], np.zeros((short, rows.shape[1]), rows.dtype)]) if short else blocks[-1]
    return np.concatenate([function(block) for block in blocks])[: len(rows)]
