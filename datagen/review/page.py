"""The page of a review: a document whose script and style are named by their hashes; it asks its own server alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from markupsafe import Markup

from datagen.report import look

HERE = Path(__file__).parent
POLICY = "Content-Security-Policy"
HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


@dataclasses.dataclass(frozen=True)
class Page:
    """A document and the policy to send it with."""

    text: str
    policy: str


def render(name: str) -> Page:
    """The page for a run of a name."""
    script = (HERE / "page.js").read_text(encoding="utf-8-sig")
    style = look.style(HERE / "page.css")
    text = look.template(HERE / "page.html").render(name=look.clean(name), style=style, script=Markup(script))
    policy = (
        f"default-src 'none'; script-src {look.hashed(script)}; style-src {look.hashed(style)}; img-src 'self' data:; "
        "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    )
    return Page(text, policy)
