"""How hard a server may be pushed: calls in flight, requests and tokens per minute, and when to give up.

All of it lives in one event loop and takes the time as an argument or from the loop's clock; nothing here sends.
"""

from __future__ import annotations

import asyncio
import collections
import time
from collections.abc import Callable

START = 8  # calls in flight at first
OVERLOAD_AFTER, RAMP_AFTER, RATE_AFTER = 8, 16, 64  # answers that a round needs at least to show such a thing
TOLERATED = 0.02  # share of overload answers in a round that changes nothing
PATIENCE_S = 25.0  # of nothing but failures, after which the server counts as down
TOLD_S = 45.0  # the same where the server itself says how long to wait (Retry-After)
MINUTE_S = 65.0  # but a server that worked may ask once for the rest of the minute that its limits count by
LOADING_S = 1800.0  # of a server that says that it is loading its model
STREAK = 5  # failures in a row at least, since a slow run may have made one bad call in 25 s


class Window:
    """Calls in flight: grows while the server keeps up, shrinks with the share of answers that say "too much".

    A round is as many answers as there are places. The start doubles the places every round; later a round adds four
    or a twentieth. A share s of overload in a round (429, 5xx, time-out, dropped) multiplies them by 1 - s/2: a server
    that refuses a few calls at random is not starved, one that refuses all is left alone within rounds. One that never
    refuses but queues is seen by its rate: a fifth more places and long waits, but hardly more answers.
    """

    def __init__(self, cap: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.cap = cap
        self.in_flight = 0
        self._clock = clock
        self._places = float(min(START, cap))
        self._doubling = True
        self._draining = False
        self._waiting: collections.deque[asyncio.Future[None]] = collections.deque()
        self._quickest = float("inf")  # mean seconds of a call in the quickest round
        self._knee = (self._places, 0.0)  # the fewest places that gave the best rate, and that rate
        self._begin_round()

    @property
    def places(self) -> int:
        """How many calls may be in flight now."""
        return max(1, int(self._places))

    async def enter(self) -> None:
        """Wait for a place, first come, first served."""
        if self.in_flight < self.places and not self._waiting:
            self.in_flight += 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._leave()
            raise

    def leave(self, seconds: float, overload: bool) -> None:
        """Give a place back after an answer that took `seconds`; `overload` if it says "too much"."""
        if self._draining:  # these calls were sent before the last cut and say nothing about it
            self._draining = self.in_flight > self.places
            if not self._draining:
                self._begin_round()
            self._leave()
            return
        full = bool(self._waiting) or self.in_flight >= self.places
        self._answers += 1
        self._overloads += overload
        if not overload:
            self._good += 1
            self._seconds += seconds
            if full:
                grown = 1.0 if self._doubling else max(4.0 / self._places, 0.05)
                most = self.cap if self._doubling else min(self.cap, 1.25 * self._began_with + 1)
                self._places = max(self._places, min(most, self._places + grown))
        # Overload is acted on at once; a rate needs more answers to be distinguished from chance.
        if self._overloads > TOLERATED * self._answers:
            needed = max(OVERLOAD_AFTER, self._began_with)
        else:
            calm = max(min(RATE_AFTER, 8 * self._began_with), 2 * self._began_with)
            needed = max(RAMP_AFTER, self._began_with) if self._doubling else calm
        if self._answers >= needed:
            self._end_round(full)
        self._leave()

    def abandon(self) -> None:
        """Give a place back without having asked, or without an answer worth counting."""
        self._leave()

    def _leave(self) -> None:
        self.in_flight -= 1
        while self._waiting and self.in_flight < self.places:
            place = self._waiting.popleft()
            if not place.done():
                self.in_flight += 1
                place.set_result(None)

    def _begin_round(self) -> None:
        self._began, self._began_with = self._clock(), self._places
        self._answers = self._overloads = self._good = 0
        self._seconds = 0.0

    def _end_round(self, full: bool) -> None:
        share = self._overloads / self._answers
        rate = self._good / max(self._clock() - self._began, 1e-6)
        mean = self._seconds / self._good if self._good else 0.0
        self._quickest = min(self._quickest, mean or self._quickest)
        queued = mean > 2 * self._quickest
        if share > TOLERATED:
            self._doubling = share > 0.5  # after a storm the places must be found again
            self._places = max(1.0, self._places * (1 - share / 2))
            self._knee = (self._places, 0.0)
        elif full and queued and self._began_with >= 1.2 * self._knee[0] and rate < 1.1 * self._knee[1]:
            # What was added only waits at the server. A bit below where it was added: chance drives the other way.
            self._doubling = False
            self._places = max(1.0, 0.85 * self._knee[0])
            self._knee = (self._places, rate)
        elif self._began_with >= 1.2 * self._knee[0] or not self._knee[1]:
            self._knee = (self._began_with, rate)
        self._draining = self.in_flight > self.places
        self._begin_round()


class Pace:
    """A limit of units (requests or tokens) per minute, spread evenly, with one second's worth at once."""

    def __init__(self, per_minute: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._second = None if per_minute is None else per_minute / 60
        self._clock = clock
        self._free_at = clock() - 1.0  # when all that was taken is earned

    def take(self, units: float) -> float:
        """Take units and return the seconds to wait before using them; what is taken stays taken."""
        if self._second is None:
            return 0.0
        now = self._clock()
        cost = units / self._second
        start = max(self._free_at, now - 1.0)  # no more than one second is ever saved up
        self._free_at = start + cost
        return max(0.0, start + min(cost, 1.0) - now)  # a single larger taking goes at once, and the next one pays

    def give_back(self, units: float) -> None:
        """Return units that were taken and not used (a reply shorter than was allowed for)."""
        if self._second is not None:
            self._free_at -= units / self._second


class Health:
    """Whether going on makes sense: remembers failures since the last good answer and what the server asks for."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, patience: float | None = None) -> None:
        self._clock = clock
        self._patience = PATIENCE_S if patience is None else patience
        self.successes = 0
        self.failures = 0  # since the last success
        self._since = 0.0
        self._busy = 0.0  # recent share of failures among the answers
        self._paused_until = 0.0
        self._too_long = self._loading = False
        self.last = ""

    def success(self) -> None:
        """A good answer came."""
        self.successes += 1
        self.failures = 0
        self._too_long = self._loading = False
        self._busy *= 0.9

    def failure(self, reason: str, *, retry_after: float | None = None, loading: bool = False) -> None:
        """An answer that says "later", or none; `retry_after` in seconds as the server asked for."""
        now = self._clock()
        if not self.failures:
            self._since = now
        self.failures += 1
        self.last, self._loading = reason, loading
        self._busy = 0.9 * self._busy + 0.1
        # One 429 of many is that call's own affair; when most are refused, it is about the account and all wait.
        if retry_after is not None and (self._busy > 0.5 or self.failures >= STREAK):
            self._paused_until = max(self._paused_until, now + retry_after)
            told = MINUTE_S if self.successes and now < self._since + 10.0 else TOLD_S
            self._too_long = self._too_long or self._paused_until > self._since + max(told, self._patience)

    def pause(self) -> float:
        """Seconds that nothing should be sent, because the server said so."""
        return max(0.0, self._paused_until - self._clock())

    def down(self) -> str | None:
        """Why to give up now, or None."""
        now = self._clock()
        if self._too_long and not self._loading:  # however many there were: all calls would wait for that, unsaid
            wait = self._paused_until - now
            return f"{self.failures} failures in a row, and the server asks to wait {wait:.0f} s more ({self.last})"
        if self.failures < (STREAK if now < self._since + TOLD_S else 3):
            return None
        patience = max(self._patience, LOADING_S) if self._loading else self._patience
        if now > max(self._since + patience, self._paused_until):
            return f"nothing but failures for {now - self._since:.0f} s, {self.failures} in a row ({self.last})"
        return None
