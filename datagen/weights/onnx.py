"""Networks that are published as ONNX, run by onnxruntime, which is an optional extra. Such a file holds no code."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datagen.errors import ModelError, one_line
from datagen.weights.identity import LENGTH

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

INSTALL = "install it with `pip install onnxruntime`, or `pip install '.[nudenet]'` in the clone"


def check(what: str) -> None:
    """Raise ModelError if onnxruntime, which `what` needs, is not installed; does not import it."""
    if importlib.util.find_spec("onnxruntime") is None:
        raise ModelError(f"{what} needs onnxruntime, which is not here: {INSTALL}")


def digest(path: Path) -> str:
    """What a file's weights are known by: 16 hex digits of its bytes. Raises ModelError."""
    return hashlib.sha256(_bytes(path)).hexdigest()[:LENGTH]


def load(path: Path) -> Any:
    """An `onnxruntime.InferenceSession` of a file, on the GPU if onnxruntime has one. Raises ModelError."""
    import onnxruntime

    known = onnxruntime.get_available_providers()
    providers = [name for name in ("CUDAExecutionProvider", "CPUExecutionProvider") if name in known]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised, and said below
    try:
        return onnxruntime.InferenceSession(_bytes(path), options, providers=providers)
    except Exception as error:  # onnxruntime's errors have no common base
        raise ModelError(f"{path} is no ONNX network that can be run: {one_line(error)}") from error


def run(what: str, session: Any, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """The one output of a network for its one input. Raises ModelError, also for what is not finite numbers."""
    import numpy as np

    try:
        (found,) = session.run(None, {one.name: inputs for one in session.get_inputs()})
    except Exception as error:  # as above; and a network with other inputs or outputs
        raise ModelError(f"{what} gives no answer: {one_line(error)}") from error
    if not np.isfinite(found).all():
        raise ModelError(f"{what} gives numbers that are not finite")
    output: NDArray[np.float32] = found
    return output


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
