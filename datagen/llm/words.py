"""The words of a server or a model, made fit for a message, a row or a file of ours."""

from __future__ import annotations

SHOWN = 300  # characters


def line(text: str, secret: str = "") -> str:
    """A text as one short line of printable characters, in which `secret` (our key) never stands."""
    if secret:
        text = text.replace(secret, "***")
    text = "".join(c if c.isprintable() else " " for c in text[: 2 * SHOWN])
    text = " ".join(text.split())
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
