"""Arithmetic on embeddings, in float64 whatever they were computed in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def unit(vectors: NDArray[Any]) -> NDArray[np.float64]:
    """(N, D) rows brought to length 1; a row of zeros stays one."""
    import numpy as np

    rows = np.asarray(vectors, dtype=np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths == 0, 1, lengths)


def cosines(images: NDArray[Any], texts: NDArray[Any]) -> NDArray[np.float64]:
    """(N,) cosines of rows, -1…1."""
    import numpy as np

    found: NDArray[np.float64] = np.einsum("nd,nd->n", unit(images), unit(texts))
    return found
