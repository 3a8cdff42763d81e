"""Which LLM server is asked, as whom, and how hard.

An `Endpoint` is a value: the key and further headers are in it but never in its `repr`, in a message or in anything
written.
"""

from __future__ import annotations

import dataclasses
import urllib.parse
from typing import Any


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """A server, one of its models, and the limits of asking it; datagen/llm/providers says what a `base_url` may be.

    `concurrency` caps the calls in flight; how many there really are is found out. `timeout` is the seconds of one
    call on the wire: waiting for a free place or for a rate limit is not counted. `patience` is the seconds of nothing
    but failures after which the server counts as down (None: limits.PATIENCE_S), `batch_requests` the most that one
    batch holds. `bounds` says that the server takes the lengths of texts and lists in a schema. `headers` go with
    every call; `parameters` are put into the body of every call as they are. `variables` is how the names begin of
    the environment's variables that it comes from.
    """

    base_url: str
    model: str
    api_key: str = dataclasses.field(repr=False, default="")
    concurrency: int = 256
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    timeout: float = 120.0
    patience: float | None = None
    batch_requests: int | None = None
    bounds: bool = False
    headers: tuple[tuple[str, str], ...] = dataclasses.field(repr=False, default=())
    parameters: dict[str, Any] = dataclasses.field(default_factory=dict, hash=False)
    variables: str = "DATAGEN_LLM"

    @property
    def address(self) -> str:
        """The base URL for a message: without its query, in which a key may stand."""
        return self.base_url.partition("?")[0]

    def url(self, path: str) -> str:
        """The URL of a path below the base URL, whose query (`?api-version=…`) stays at the end."""
        base, mark, query = self.base_url.partition("?")
        return f"{base.rstrip('/')}/{path}{mark}{query}"

    def sent_headers(self) -> dict[str, str]:
        """The headers that say who we are, and the further ones; Azure's servers take the key as `api-key`."""
        given = {name.lower() for name, _ in self.headers}
        headers = {"User-Agent": "datagen", **dict(self.headers)}
        if self.api_key and not given & {"authorization", "api-key", "x-api-key"}:
            if self._is_azure():
                headers["api-key"] = self.api_key
            else:
                headers["Authorization"] = f"Bearer {self.api_key}"
        return headers

    def secrets(self) -> tuple[str, ...]:
        """What must not stand in any message."""
        values = [part for _, value in self.headers for part in (value, value.partition(" ")[2])]
        return (self.api_key, *(value for value in values if len(value) >= 8))

    def _is_azure(self) -> bool:
        parts = urllib.parse.urlsplit(self.base_url)
        known = (parts.hostname or "").endswith((".openai.azure.com", ".cognitiveservices.azure.com"))
        return known or "api-version" in urllib.parse.parse_qs(parts.query)
