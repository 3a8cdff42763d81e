"""What a model is known by: a digest of its tensors and of the settings that decide what is computed from them.

The same for the same weights, wherever they lie, however their path is spelled, linked, or spread over files. Reading
all of a model takes a while, so each file's digests are kept in the user's cache, under all by which a system tells
that a file has changed (device, inode, size, times of its content and of its entry, in nanoseconds): what is replaced,
written to or copied is read again, and nobody can set the last of these back.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import os
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from datagen.weights import files

NETWORKS = ("unet", "vae", "text_encoder", "text_encoder_2")
PARTS = (*NETWORKS, "scheduler", "tokenizer", "tokenizer_2")
LENGTH = 16  # hex digits
_THREADS = 4
# A file that was written just now may be written again within the same tick of the clock: it is not remembered.
_TICK = 2.0  # seconds
# Who wrote a file, with which version, in which precision: none of it changes what is computed in a given one.
_IDLE = {"_name_or_path", "name_or_path", "_diffusers_version", "transformers_version", "_commit_hash", "dtype"}
_IDLE |= {"torch_dtype", "architectures", "is_local", "local_files_only", "tokenizer_file", "vocab_file"}
_INDEX = ("_class_name", "force_zeros_for_empty_prompt", "requires_aesthetics_score")


def pipeline(folder: Path) -> str:
    """The digest of a diffusers folder, or of a model in one file: 16 hex digits. ModelError for files not whole."""
    if folder.is_file():
        return file(folder)
    index = files.read_index(folder)
    facts = [["model_index.json", {name: index.get(name) for name in _INDEX}]]
    for name in PARTS:
        if (folder / name).is_dir():
            weighted = name in NETWORKS
            facts.append([name, _texts(folder / name), _tensors(files.find(folder / name).paths) if weighted else {}])
    return _digest(facts)


def network(folder: Path) -> str:
    """The digest of one network's folder: its settings and its tensors. Raises ModelError."""
    return _digest([_texts(folder), _tensors(files.find(folder).paths)])


def adapter(path: Path) -> str:
    """The digest of a LoRA file: its tensors, and what it says of their scale. Raises ModelError."""
    return _digest([files.metadata(path).get("lora_adapter_metadata"), _of_file(path)])


def folder(path: Path) -> str:
    """The digest of another folder with weights, as of an adapter or an encoder: all that lies in it. ModelError."""
    return _digest([_texts(path), {one.name: _of_file(one) for one in sorted(path.glob("*.safetensors"))}])


def folders(paths: Iterable[Path]) -> str:
    """The digest of several such folders that belong together, as of SDXL's two encoders. Raises ModelError."""
    return _digest([folder(path) for path in paths])


def file(path: Path) -> str:
    """The digest of one safetensors file: of its tensors' names, types, shapes and bytes. Raises ModelError."""
    return _digest(_of_file(path))


def _digest(facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:LENGTH]


def _texts(folder: Path) -> dict[str, Any]:
    """The settings in a folder without what changes nothing, and its vocabulary."""
    found: dict[str, Any] = {}
    for path in sorted(folder.glob("*.json")):
        if ".safetensors.index." not in path.name:
            found[path.name] = {key: value for key, value in files.read_json(path).items() if key not in _IDLE}
    for path in sorted(folder.glob("*.txt")):
        found[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _tensors(paths: Iterable[Path]) -> dict[str, str]:
    """Type, shape and hash of every tensor by its name, over all files: how they are spread makes no difference."""
    found: dict[str, str] = {}
    for path in paths:
        found.update(_of_file(path))
    return found


def _of_file(path: Path) -> dict[str, str]:
    """The tensors' digests of one file, from the cache if the file is the one that was read then."""
    state = path.stat()
    stamp = [state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns]
    kept = _cache() / f"{hashlib.sha256(os.fsencode(path.resolve())).hexdigest()}.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        held = json.loads(kept.read_text(encoding="utf-8-sig"))
        if held["stamp"] == stamp:
            tensors: dict[str, str] = held["tensors"]
            return tensors
    found = _hashed(path)
    if time.time() - max(state.st_mtime, state.st_ctime) > _TICK:
        _keep(kept, {"stamp": stamp, "tensors": found})
    return found


def _hashed(path: Path) -> dict[str, str]:
    entries = files.header(path)
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        view = memoryview(content)

        def one(name: str) -> str:
            entry = entries[name]
            return hashlib.sha256(view[entry.start : entry.end]).hexdigest()

        with ThreadPoolExecutor(_THREADS) as pool:
            hashes = list(pool.map(one, entries))
        view.release()
    return {
        name: f"{entries[name].dtype} {list(entries[name].shape)} {value}"
        for name, value in zip(entries, hashes, strict=True)
    }


def _cache() -> Path:
    """$DATAGEN_WEIGHTS_CACHE, or the user's cache directory /datagen/weights."""
    if given := os.environ.get("DATAGEN_WEIGHTS_CACHE"):
        return Path(given)
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "datagen" / "weights"


def _keep(path: Path, facts: dict[str, Any]) -> None:
    """Written aside and renamed; a cache that cannot be written is none."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.stem}-{os.getpid()}")
        aside.write_text(json.dumps(facts), encoding="utf-8")
        aside.replace(path)
