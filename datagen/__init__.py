"""Text-to-image preference datasets without human labels."""

from __future__ import annotations

import functools


@functools.cache
def version() -> str:
    """The version of this package."""
    import importlib.metadata  # it reads e-mail headers, and what it needs for that takes a while to load

    try:
        return importlib.metadata.version("datagen")
    except importlib.metadata.PackageNotFoundError:  # run from a checkout that was never installed
        return "0"
