"""Text-to-image preference datasets without human labels."""

from __future__ import annotations

import importlib.metadata


def version() -> str:
    """The version of this package."""
    try:
        return importlib.metadata.version("datagen")
    except importlib.metadata.PackageNotFoundError:  # run from a checkout that was never installed
        return "0"
