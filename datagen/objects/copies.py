"""Copies on this machine's disk of what lies on an object store; any may be deleted at any time."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import secrets
from pathlib import Path

from datagen.errors import RunError
from datagen.objects.address import Address, parse
from datagen.objects.bucket import Bucket, Entry, opened

VARIABLE = "DATAGEN_COPIES"


def cache(address: Address) -> Path:
    """The folder in which copies of what lies below an address are kept; it need not be there."""
    root = os.environ.get(VARIABLE) or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "datagen" / "copies"
    digest = hashlib.sha256(f"{os.environ.get('AWS_ENDPOINT_URL', '')} {address}".encode()).hexdigest()
    return Path(root).expanduser() / digest[:16] / (address.prefix.rpartition("/")[2] or address.bucket)


def fetched(address: Address) -> Path:
    """A folder with copies of all objects below an address, or the one object that it is the address of.

    What was copied before is not copied again. RunError if there is nothing, or the store or the disk refuses.
    """
    bucket, folder = opened(address), cache(address)
    found = bucket.list()
    if not found:
        return _one_object(address)
    for key, entry in found.items():
        _copy(bucket, key, entry, folder / key)
    for path in sorted(folder.rglob("*")):  # what was deleted there since
        if path.is_file() and path.relative_to(folder).as_posix() not in found and not path.name.startswith("."):
            path.unlink(missing_ok=True)
    return folder


def dataset(text: str) -> Address:
    """The address of a dataset: as given, or where it lies in the run that is given. Errors as of the two parts."""
    address = parse(text)
    if opened(address).entry("dataset.sha256") is None:
        return address
    return dataclasses.replace(address, prefix=f"{address.prefix}/dataset".lstrip("/"))


def _one_object(address: Address) -> Path:
    above, _, name = address.prefix.rpartition("/")
    parent = Address(address.scheme, address.bucket, above)
    entry = opened(parent).entry(name) if name else None
    if entry is None:
        raise RunError(f"there is nothing at {address}: give the address of a dataset, such as {address}/dataset")
    path = cache(parent) / name
    _copy(opened(parent), name, entry, path)
    return path


def _copy(bucket: Bucket, key: str, entry: Entry, path: Path) -> None:
    """Copy one object, unless this version of it is there."""
    noted = path.with_name(f".{path.name}.version")
    version = f"{entry.version} {entry.size}"
    try:
        if path.stat().st_size == entry.size and noted.read_text(encoding="utf-8-sig") == version:
            return
    except OSError:
        pass
    data = bucket.get(key)
    if data is None:
        raise RunError(f"{bucket.address}/{key} was deleted while it was copied: rerun")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        temporary.write_bytes(data)
        temporary.replace(path)
        noted.write_text(version, encoding="utf-8")
    except OSError as error:
        raise RunError(
            f"cannot write {path} ({error.strerror}): copies lie there; set {VARIABLE} to a folder with more room"
        ) from error
