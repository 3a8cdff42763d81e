"""Where calls go. The folder is the registry: one file per kind of server, named after the scheme of its addresses.

Each ends with a `PROVIDER`; `local:model.gguf` is local.py's, and any address that no other file claims is http.py's.
A provider says in its own file all that is particular to it, so that the rest of this package mentions none by name.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, cast

from datagen.errors import EndpointError
from datagen.llm.endpoint import Endpoint
from datagen.llm.wire.allowances import Allowance
from datagen.registry import Registry

PROVIDERS = Registry(__name__, "LLM provider", EndpointError)
DEFAULT = "http"
Say = Callable[[str], None]
Hear = Callable[[Sequence[Allowance], bool], None]  # what an answer says of limits, and whether it is a good one


class RetryableError(Exception):
    """A call failed in a way that a retry may cure.

    `sent` says whether the server may have done (and charged for) the work; `busy` that it reports an overload (429);
    `loading` that it is still loading its model; `retry_after` is in seconds; `unreachable` says that no connection
    could be made at all.
    """

    def __init__(
        self,
        reason: str,
        *,
        sent: bool = False,
        busy: bool = False,
        loading: bool = False,
        retry_after: float | None = None,
        unreachable: bool = False,
    ) -> None:
        super().__init__(reason)
        self.sent = sent
        self.busy = busy
        self.loading = loading
        self.retry_after = retry_after
        self.unreachable = unreachable


class UnusableAnswer(Exception):
    """The server answered (HTTP 200), so that the call is paid, but what came is no completion.

    `answer` is what came, in which its usage may stand. `verdict` is what to tell the user if the server has never
    given a completion: then this is most likely no such server; "" where another try may show.
    """

    def __init__(self, reason: str, answer: Any = None, verdict: str = "") -> None:
        super().__init__(reason)
        self.answer, self.verdict = answer, verdict


class ServerRefusal(EndpointError):
    """What holds for every request as far as anyone can tell: a wrong key, an unknown model, a page of a website.

    Among good answers it is the failure of one request.
    """


def deaf(allowances: Sequence[Allowance], good: bool) -> None:
    """Hears nothing."""


class Transport(Protocol):
    """Carries calls to one server; made, used and closed in one event loop, any number of calls at once."""

    async def send(self, body: bytes, sample: int = 0, hear: Hear = deaf) -> dict[str, Any]:
        """The chat completion, in OpenAI's shape, for the JSON body of a POST to /chat/completions.

        `sample` distinguishes requests with the same body, for a provider without randomness of its own; `hear` is
        told what any answer says of the server's limits. Raises
        RetryableError, UnusableAnswer, EndpointError for what no retry cures, ServerRefusal where it looks so, and
        RequestRejected if only this body is refused.
        """

    async def close(self) -> None:
        """Close all connections."""


def _as_it_is(endpoint: Endpoint, say: Say) -> AbstractContextManager[Endpoint]:
    """Nothing needs to be started."""
    return contextlib.nullcontext(endpoint)


def _as_asked(endpoint: Endpoint) -> str:
    """The model is called what it is asked by."""
    return endpoint.model


@dataclasses.dataclass(frozen=True)
class Provider:
    """A kind of server. `name` and `example` (of an address) are for messages."""

    name: str
    example: str
    check: Callable[[str, str], str]  # an address, of a variable, in its one spelling; EndpointError if it is none
    here: Callable[[str], bool]  # whether it is on this machine: then it costs nothing and may want no key
    connect: Callable[[Endpoint], Transport]  # called in the event loop
    status: Callable[[Endpoint], str]  # a line for `datagen doctor`; asks nothing that costs
    model: Callable[[str], str] = lambda address: ""  # the model of an address for which none is named
    served_as: Callable[[Endpoint], str] = _as_asked  # the model's name in replies and their keys; starts nothing
    serve: Callable[[Endpoint, Say], AbstractContextManager[Endpoint]] = _as_it_is  # the endpoint to ask in the block
    batches: bool = False  # has OpenAI's Batch API


def provider_of(address: str) -> Provider:
    """The provider that a base URL belongs to."""
    scheme = address.partition(":")[0]
    name = scheme if scheme in PROVIDERS.names() else DEFAULT
    return cast(Provider, PROVIDERS.module(name).PROVIDER)


def is_here(address: str) -> bool:
    """Whether a base URL is on this machine: a loopback address, or something that we serve ourselves."""
    return provider_of(address).here(address)


def accepted() -> str:
    """The addresses that are accepted, for a message."""
    return ", ".join(provider_of(f"{name}:").example for name in PROVIDERS.names())
