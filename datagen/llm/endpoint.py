"""Which LLM server is asked, as whom, and how hard.

An `Endpoint` is a value: the key is in it but never in its `repr`, in a message or in anything written.
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """A server, one of its models, and the limits of asking it; datagen/llm/providers says what a `base_url` may be.

    `concurrency` caps the calls in flight; how many there really are is found out. `timeout` is the seconds of one
    call on the wire: waiting for a free place or for a rate limit is not counted. `bounds` says that the server takes
    the lengths of texts and lists in a schema.
    """

    base_url: str
    model: str
    api_key: str = dataclasses.field(repr=False, default="")
    concurrency: int = 256
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    timeout: float = 120.0
    bounds: bool = False
