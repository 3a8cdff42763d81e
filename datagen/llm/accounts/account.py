"""Where every call of a run is booked: before its reply is used, and under a budget also before it is sent.

An answer that does not say what it used is booked at the most that it can have cost, as is a call whose answer never
came. What is not billed (a refusal, a server that is not there) is not booked.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Generic

from datagen.errors import BudgetSpent
from datagen.llm.accounts.money import Budget, Call, Prices, Reservation
from datagen.llm.messages import Usage
from datagen.llm.service import Asked, Bound, Service


@dataclasses.dataclass(frozen=True)
class Entry(Generic[Asked]):
    """A call about to be sent: what it is allowed, and the dollars that it may cost at most.

    That is more than it is allowed for a server that was seen to keep to no length.
    """

    request: Asked
    key: str
    bound: Bound
    most: float
    reservation: Reservation | None = None


class Account(Generic[Asked]):
    """The account of one model. A call to be booked is returned where no budget books it: the outbox writes it."""

    def __init__(self, prices: Prices, model: str, budget: Budget | None, service: Service[Asked, Any]) -> None:
        self._prices, self._model, self._budget, self._service = prices, model, budget, service
        self._price = budget.price if budget else prices.of(model)
        self._over = 1.0  # how many times its most a call was seen to cost
        self._surprise = ""  # why no budget can hold this server

    async def open(self, request: Asked, key: str) -> Entry[Asked]:
        """Before a call is sent. BudgetSpent if there is no room for it, or none can be kept for such a server."""
        if self._surprise:
            raise BudgetSpent(self._surprise)
        bound = self._service.bound(request, self._price)
        reservation = None
        if self._budget is not None:
            reservation = await self._budget.reserve(request.stage, bound.allowed, key)
        return Entry(request, key, bound, self._over * bound.allowed, reservation)

    def paid(self, entry: Entry[Asked], answer: Any) -> tuple[Usage, Call | None]:
        """Book a call that was answered, by what the answer says that it used."""
        usage = self._service.usage(entry.request, answer, self._prices)
        if usage is None:
            return Usage(), self.unknown(entry)
        if entry.bound.allowed > 0:  # a server that does not keep to the length that it was given will do so again
            self._over = max(self._over, usage.cost / entry.bound.allowed)
        if self._budget is not None and entry.reservation is not None:
            self._budget.settle(entry.reservation, usage)
            if usage.cost > entry.bound.allowed:
                self._surprise = (
                    f"a call that was allowed {entry.bound.words} and {entry.bound.allowed:.4f} dollars was billed "
                    f"{usage.output_tokens:,} tokens and {usage.cost:.4f} dollars: --max-cost cannot hold a server "
                    f"that keeps to no length; it is on the account: {entry.bound.cure}"
                )
            return usage, None
        return usage, Call(entry.request.stage, entry.key, self._model, usage)

    def unknown(self, entry: Entry[Asked], *, read_alone: bool = False) -> Call | None:
        """Book a call that may have been billed, at the most that it can have cost: its question alone if only that
        was read.
        """
        usage = Usage(cost=entry.bound.question if read_alone else entry.most)
        if self._budget is not None and entry.reservation is not None:
            self._budget.settle(entry.reservation, usage, unsure=True)
            return None
        return Call(entry.request.stage, entry.key, self._model, usage, unsure=True)

    def free(self, entry: Entry[Asked]) -> None:
        """Forget a call that was not billed."""
        if self._budget is not None and entry.reservation is not None:
            self._budget.settle(entry.reservation, None)
