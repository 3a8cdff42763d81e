"""Addresses of what lies on an object store: SCHEME://BUCKET/PREFIX, whose prefix is taken as it is written."""

from __future__ import annotations

import dataclasses
import re

from datagen.errors import InputError, nearest

SCHEMES = {
    "s3": "Amazon S3, or what answers as it does at AWS_ENDPOINT_URL",
    "gs": "Google Cloud Storage",
    "az": "Azure Blob Storage",
}
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://?(.*)", re.DOTALL)  # pathlib makes one slash of two
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,221}")
EXAMPLE = "give an address such as s3://bucket/runs/one"


@dataclasses.dataclass(frozen=True)
class Address:
    """Where a run or a dataset lies; `prefix` neither begins nor ends with a slash, and may be empty."""

    scheme: str
    bucket: str
    prefix: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.prefix}".rstrip("/")


def is_address(text: str) -> bool:
    """Whether a text is an address, of a scheme that is known or not, and no path."""
    found = _ADDRESS.match(text.strip())
    return (
        found is not None and (len(found[1]) > 1 or "://" in text) and ("://" in text or found[1].lower() in SCHEMES)
    )


def parse(text: str) -> Address:
    """The address that a text is; slashes at its end do not count. InputError says what is wrong with it."""
    found = _ADDRESS.match(text.strip())
    if found is None:
        raise InputError(f"{text!r} is no address of an object store: {EXAMPLE}")
    scheme, (bucket, _, prefix) = found[1].lower(), found[2].partition("/")
    if scheme not in SCHEMES:
        raise InputError(f"{text}: nothing is known of {scheme}:// ({nearest(scheme, SCHEMES)}): {EXAMPLE}")
    if not bucket:
        raise InputError(f"{text} names no bucket: {EXAMPLE}")
    if not _BUCKET.fullmatch(bucket):
        raise InputError(
            f"{text}: {bucket!r} can be no bucket, whose name is of a-z, 0-9, dots and hyphens: {EXAMPLE}"
        )
    prefix = prefix.rstrip("/")
    parts = prefix.split("/") if prefix else []
    if any(part in ("", ".", "..") for part in parts):
        raise InputError(f"{text}: between two slashes stands nothing, . or .., which is no folder here: {EXAMPLE}")
    if not prefix.isprintable():
        raise InputError(f"{text!r} holds characters that cannot be printed: {EXAMPLE}")
    if len(prefix.encode()) > 800:
        raise InputError(f"the prefix of {text[:60]}… is of {len(prefix.encode())} bytes: give one of at most 800")
    return Address(scheme, bucket, prefix)
