"""Small published weights, of heads that read embeddings: arrays by name, from whatever they are published in.

safetensors and npz hold numbers alone. A pickle or a zip is read only if its SHA-256 is the published file's, and then
by readers that make nothing but arrays. Whatever it is, its arrays must be those that are expected.
"""

from __future__ import annotations

import contextlib
import hashlib
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datagen.errors import ModelError, one_line
from datagen.weights import checkpoint, files, fit, parts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Arrays = dict[str, NDArray[np.float32]]
    Shapes = Mapping[str, tuple[int, ...]]

ANY = -1  # in a shape: whatever the file has, the same everywhere
# What the pickle of an array calls for; nothing else is ever looked up.
_OF_ARRAYS = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("_codecs", "encode"),
}


def read(path: Path, shapes: Shapes, digest: str = "") -> Arrays:
    """The arrays of a file as float32, with exactly these names and shapes. Raises ModelError, one line.

    `digest` is what the published file's SHA-256 begins with; "" if there is none, and no pickle is read. A pickle of
    Python's own (.p) holds one array, which gets the first name.
    """
    with _readable(path):
        match path.suffix:
            case ".safetensors":
                held = {name: _array(tensor) for name, tensor in parts.tensors(path).items()}
            case ".npz":
                held = _of_npz(path)
            case ".p" | ".pkl":
                _check_published(path, digest)
                held = {next(iter(shapes)): _of_pickle(path)}
            case _:
                _check_published(path, digest)
                held = {name: _array(tensor) for name, tensor in checkpoint.of_pickle(path).items()}
    return _checked(path, held, shapes)


def read_part(found: files.Files, shapes: Shapes) -> Arrays:
    """Those arrays alone of a larger checkpoint, as float32; what else it has is not read. Raises ModelError."""
    held: dict[str, Any] = {}
    found.entries()
    for path in found.paths:
        names = shapes.keys() & files.header(path).keys()
        held |= {name: _array(tensor) for name, tensor in parts.tensors(path, names).items()}
    return _checked(found.paths[0], held, shapes)


def read_zipped(path: Path, member: str, offsets: Mapping[str, int], shapes: Shapes, digest: str) -> Arrays:
    """The float32 arrays that stand at offsets (in bytes) of a file in a published zip. Raises ModelError."""
    import numpy as np

    with _readable(path):
        _check_published(path, digest)
        with zipfile.ZipFile(path) as archive:
            (name,) = [name for name in archive.namelist() if name.endswith(member)]
            data = archive.read(name)
        held = {
            name: np.frombuffer(data, np.float32, int(np.prod(shape)), offsets[name]).reshape(shape)
            for name, shape in shapes.items()
        }
    return _checked(path, held, shapes)


def identity(arrays: Arrays) -> str:
    """16 hex digits that tell arrays apart, whatever file they come from."""
    found = hashlib.sha256()
    for name in sorted(arrays):
        found.update(f"{name} {arrays[name].shape} ".encode() + arrays[name].tobytes())
    return found.hexdigest()[:16]


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """What readers raise on files that are no weights, as a ModelError that names the file."""
    try:
        yield
    except ModelError:
        raise
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or one_line(error)}") from error
    except Exception as error:  # each reader has errors of its own, and a zip's another
        raise ModelError(f"{path} holds no weights that can be read ({one_line(error)})") from error


def _check_published(path: Path, digest: str) -> None:
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest and found.startswith(digest):
        return
    known = f"whose SHA-256 begins with {digest}" if digest else "no hash of which is known"
    raise ModelError(
        f"{path} is not the published file, {known}, and such a file can run code: fetch it again, or save its "
        "tensors as safetensors where you trust it"
    )


def _of_npz(path: Path) -> dict[str, Any]:
    import numpy as np

    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _array(tensor: Any) -> Any:
    """In float32, which NumPy knows and bfloat16 fits into; numbers that are no floats stay what they are."""
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()


def _of_pickle(path: Path) -> Any:
    with path.open("rb") as stream:
        return _Arrays(stream).load()


class _Arrays(pickle.Unpickler):
    """Reads arrays, and refuses whatever else a pickle asks for before it is called."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _OF_ARRAYS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return super().find_class(module, name)


def _checked(path: Path, held: Mapping[str, Any], shapes: Shapes) -> Arrays:
    import numpy as np

    if odd := [name for name, value in held.items() if getattr(value, "dtype", np.dtype(object)).kind != "f"]:
        raise ModelError(f"{path} holds something else than floating-point numbers ({files.named(odd)})")
    sizes = {name: tuple(value.shape) for name, value in held.items()}
    wanted = {name: _filled(shape, sizes.get(name, ())) for name, shape in shapes.items()}
    fit.check(str(path), fit.compare(wanted, sizes), remedy="give the weights that belong to this judge")
    found = {name: np.array(held[name], np.float32, order="C") for name in shapes}
    if broken := [name for name, value in found.items() if not np.isfinite(value).all()]:
        raise ModelError(f"{path} holds NaN or infinite numbers ({files.named(broken)})")
    return found


def _filled(shape: tuple[int, ...], held: tuple[int, ...]) -> tuple[int, ...]:
    """An expected shape with the file's number where any will do."""
    if len(shape) != len(held):
        return shape
    return tuple(theirs if ours == ANY else ours for ours, theirs in zip(shape, held, strict=True))
