"""The words of a server or a model, made fit for a message, a row or a file of ours."""

from __future__ import annotations

SHOWN = 300  # characters


def line(text: str, *secrets: str) -> str:
    """A text as one short line of printable characters, in which none of `secrets` (our key) stands."""
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    text = "".join(c if c.isprintable() else " " for c in text[: 2 * SHOWN])
    text = " ".join(text.split())
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
