"""A server's own limits, heeded before it refuses: a call waits while its headers say that nothing is left.

Server and client count apart: what is left is what the newest call was told, less all that was sent after it.
Headers that make no sense are not heeded for long; a server without any is asked as if there were no limits.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence

from datagen.llm.wire.allowances import Allowance

LONGEST_S = 65.0  # a limit that begins anew later is not waited for: the server's refusal says so, and ends the run
SPARE = 0.02  # share of a limit that is left alone, as others may use the same account
OVERTAKES_S = 0.25  # a call that was sent so little before another may reach the server after it
FULL = 0.95  # share that must be there after its reset for the limit to be one that then begins anew as a whole
VAIN = 3  # resets after which still nothing is left, though calls are answered: such headers mean nothing


@dataclasses.dataclass(frozen=True)
class Need:
    """What a call counts against limits, in tokens: about what it asks, and all that it may answer."""

    input: float
    output: float

    def of(self, unit: str) -> float:
        """In units of a limit."""
        return {"requests": 1.0, "input": self.input, "output": self.output}.get(unit, self.input + self.output)


class Quotas:
    """All limits that one server tells; lives in one event loop."""

    def __init__(self, clock: Callable[[], float], say: Callable[[str], None]) -> None:
        self._clock, self._say = clock, say
        self._quotas: dict[str, _Quota] = {}
        self._numbers = itertools.count(1)
        self._flying: dict[int, Need] = {}
        self._line = asyncio.Lock()  # first come, first served
        self._news = asyncio.Event()

    async def enter(self, need: Need) -> int:
        """Wait until the limits leave room for one more call; its number, for `hear` and `leave`."""
        if self._line.locked() or self._pause(need) > 0:
            async with self._line:
                while (pause := self._pause(need)) > 0:
                    self._news.clear()
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._news.wait(), None if math.isinf(pause) else pause)
        number = next(self._numbers)
        for quota in self._quotas.values():
            quota.spend(number, need.of(quota.unit), self._clock())
        self._flying[number] = need
        return number

    def hear(self, number: int, allowances: Sequence[Allowance], good: bool) -> None:
        """What an answer to a call says is left; `good` if the call was not refused."""
        now = self._clock()
        for told in allowances:
            if (quota := self._quotas.get(told.name)) is None:
                quota = self._quotas[told.name] = _Quota(told.unit)
                for other, need in self._flying.items():
                    quota.spend(other, need.of(told.unit), now)
            if quota.hear(number, told, now, good):
                self._say(f"its limit of {quota.unit} never leaves any, and yet it answers: it is not heeded")

    def leave(self, number: int) -> None:
        """A call is over; one without a word of limits leaves them as they were."""
        self._flying.pop(number, None)
        for quota in self._quotas.values():
            quota.over(number)
        self._news.set()

    def _pause(self, need: Need) -> float:
        """Seconds to wait for room; infinite where only an answer that is on its way can tell."""
        now, longest = self._clock(), 0.0
        for quota in self._quotas.values():
            others = sum(flying.of(quota.unit) for flying in self._flying.values())
            pause = quota.pause(need.of(quota.unit), others, now)
            if 1.0 < pause <= LONGEST_S and not quota.said:
                quota.said = True
                self._say(f"its limit of {quota.limit:g} {quota.unit} is used up: calls wait until it begins anew")
            longest = max(longest, pause)
        return longest


@dataclasses.dataclass(frozen=True)
class _Sent:
    """A call on its way: its units, all that were ever sent with it, and when."""

    units: float
    so_far: float
    time: float


class _Quota:
    """One limit: what is left of it at least, until it begins anew."""

    def __init__(self, unit: str) -> None:
        self.unit = unit
        self.said = False  # that calls wait for it
        self.limit = self._left = math.inf
        self._resets = math.inf
        self._sent = 0.0  # units, ever
        self._flying: dict[int, _Sent] = {}
        self._told = math.inf  # units left, by the newest answer
        self._late: dict[int, float] = {}  # number → units of calls that may have come after the one it answered
        self._last = 0  # number of the call that was sent last
        self._newest = 0  # … of the one whose answer was heeded last
        self._renewed = False  # it should have begun anew, and no answer has said so yet
        self._whole = False  # it was seen to begin anew as a whole
        self._since = 0.0  # units sent since it should have begun anew
        self._scout: int | None = None  # the one call that finds out
        self._vain = 0
        self._ignored = False

    def pause(self, units: float, others: float, now: float) -> float:
        """Seconds until a call of so many units has room; `others` are the units of calls that are on their way."""
        if self._ignored or math.isinf(self.limit):
            return 0.0
        if now >= self._resets:
            self._renew(others)
        spare = max(1.0, SPARE * self.limit) if self.limit >= 20 else 0.0
        if self._left - spare >= min(units, self.limit - spare):
            return 0.0
        if self._renewed:  # one call goes ahead and finds out what is left now
            return 0.0 if self._scout is None else math.inf
        return self._resets - now if self._resets - now <= LONGEST_S else 0.0

    def spend(self, number: int, units: float, now: float) -> None:
        """A call is sent."""
        self._last = number
        self._sent += units
        self._flying[number] = _Sent(units, self._sent, now)
        if self._renewed and self._scout is None:
            self._scout = number
        self._left -= units
        self._since += units

    def over(self, number: int) -> None:
        """A call is over."""
        self._flying.pop(number, None)
        if number == self._scout:
            self._scout = None

    def hear(self, number: int, told: Allowance, now: float, good: bool) -> bool:
        """What an answer says; whether the limit has just been seen to mean nothing."""
        if self._ignored:
            return False
        if number < self._newest:  # an older answer knows less; but a call that was taken to be late may not have been
            if number in self._late and told.left >= self._told:
                self._left += self._late.pop(number)
            return False
        if self._renewed:
            self._whole = told.left + self._since >= FULL * told.limit
            self._vain = self._vain + good if told.left < 1 < told.limit else 0
            self._ignored = self._vain >= VAIN
        self._newest, self._renewed = number, False
        self.limit, self._resets = told.limit, now + told.reset
        # What the server had not seen when it answered: calls that were sent after this one, or just before.
        sent = self._flying.get(number, _Sent(0.0, self._sent, now))
        self._late = {
            earlier: other.units
            for earlier, other in self._flying.items()
            if earlier < number and other.time > sent.time - OVERTAKES_S
        }
        self._told = told.left
        self._left = told.left - (self._sent - sent.so_far) - sum(self._late.values())
        return self._ignored

    def _renew(self, others: float) -> None:
        self._renewed, self._resets, self._since, self._scout = True, math.inf, 0.0, None
        self._newest = self._last + 1  # what was sent before knows nothing of it
        if self._whole:
            self._left = max(self._left, self.limit - others)
