"""What a server is asked for: texts or pictures. All that differs between the two, so that a client need not know it.

A service makes the body of a request, says what it may cost, and reads what came. It lives in one event loop, like the
client that uses it, and learns from the server's rejections how this one wants to be asked.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from datagen.errors import RequestRejected
from datagen.llm.finish import Completion
from datagen.llm.messages import Usage
from datagen.llm.quotas import Need

if TYPE_CHECKING:
    from datagen.llm.accounts.prices import Price, Prices

Send = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


class Question(Protocol):
    """What every request has: `stage` is for the accounts, `sample` distinguishes repetitions."""

    @property
    def stage(self) -> str: ...

    @property
    def sample(self) -> int: ...


class Answer(Protocol):
    """What every reply has: whether it came from the cache."""

    @property
    def cached(self) -> bool: ...


Asked = TypeVar("Asked", bound=Question)
Given = TypeVar("Given", bound=Answer)


@dataclasses.dataclass(frozen=True)
class Bound:
    """The dollars of a call at most: its `question` alone, all that it is `allowed`; and what that is, in words."""

    question: float
    allowed: float
    words: str
    cure: str  # what to do if a server bills more than it was allowed


class Service(Protocol[Asked, Given]):
    """How one server is asked for one kind of thing."""

    def key(self, request: Asked) -> str:
        """The cache's key of a request: 64 hex digits."""

    def is_whole(self, completion: dict[str, Any]) -> bool:
        """Whether all that a stored completion refers to is still there."""

    def need(self, request: Asked) -> Need:
        """About what a request counts against limits of tokens."""

    def bound(self, request: Asked, price: Price | None) -> Bound:
        """What a request can cost at most; 0 without a price."""

    def usage(self, request: Asked, answer: Any, prices: Prices) -> Usage | None:
        """What an answer was billed; None if that cannot be told."""

    async def body(self, request: Asked, send: Send) -> dict[str, Any]:
        """The body of a request as this server takes it; `send` is for finding out how, by probes that are paid."""

    def shape(self, body: dict[str, Any]) -> dict[str, Any]:
        """A probe's body with what has been learnt since it was made."""

    def probe(self, body: dict[str, Any]) -> Asked:
        """The request that a probe's body stands for in the accounts."""

    @property
    def lessons(self) -> int:
        """How much has been learnt; a body that was made before the last lesson is worth sending again."""

    def learn(self, rejection: RequestRejected, body: dict[str, Any], request: Asked) -> bool:
        """Whether the rejection of a body taught something, so that the same request may now be taken."""

    def finish(self, request: Asked, completion: Completion) -> tuple[Given, Asked | None]:
        """The reply that a completion makes, and the request of its correction round, if there should be one."""

    def corrected(self, request: Asked, reply: Given, completion: Completion) -> Given:
        """The reply after its correction round."""
