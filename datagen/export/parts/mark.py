"""How the pictures of an export are marked as made by a machine: not at all, by XMP, or by signed content credentials.

Marks go into the container of a file: its pixels stay as they are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from datagen.errors import InputError
from datagen.images import marks

NONE, XMP, C2PA = "none", "xmp", "c2pa"


def _as_it_is(data: bytes) -> bytes | None:
    return data


@dataclasses.dataclass(frozen=True)
class Mark:
    """`apply` gives the same file with the mark, None for a file of a kind that cannot have it."""

    name: str = NONE
    apply: Callable[[bytes], bytes | None] = _as_it_is
    says: str = "Pictures carry no mark: whoever publishes them says that a machine made them."


FOUND = Mark(says="Pictures were found, not drawn here, so that they are not marked as made by a machine.")


def of(name: str, key: Path | None = None, certificate: Path | None = None) -> Mark:
    """The mark of a name. InputError for a key where none is used, or none where one is needed."""
    if name != C2PA and (key or certificate):
        raise InputError(f"--key and --certificate sign content credentials: give --mark {C2PA} with them")
    match name:
        case "none":
            return Mark()
        case "xmp":
            return Mark(XMP, marks.with_xmp, f"Each picture says in XMP that a machine made it: {marks.SOURCE}.")
    if key is None or certificate is None:
        raise InputError(f"--mark {C2PA} signs with your own key: give --key and --certificate, both in PEM")
    from datagen.export.parts.credentials import signer

    says = f"Each picture says in XMP and in signed content credentials (C2PA) that a machine made it: {marks.SOURCE}."
    return Mark(C2PA, signer(key, certificate), says)
