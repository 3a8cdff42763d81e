"""Window, pace and health against simulated servers in simulated time: no sockets, no waiting."""

import asyncio
import heapq
import random
from collections.abc import Callable

import pytest

from datagen.llm import limits
from datagen.llm.limits import Health, Pace, Window


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def simulate(
    window: Window, clock: Clock, seconds: float, answer: Callable[[int], tuple[float, bool]]
) -> list[tuple[float, int, bool]]:
    """Keep the window full for so long; `answer` says, for the calls in flight, (seconds, overload) of a new one.

    Returns (time, places, overload) of every answer.
    """

    async def run() -> list[tuple[float, int, bool]]:
        events: list[tuple[float, int, float, bool]] = []
        waiting: set[asyncio.Task[None]] = set()
        seen, number = [], 0

        async def send() -> None:
            nonlocal number
            await window.enter()
            number += 1
            took, overload = answer(window.in_flight)
            heapq.heappush(events, (clock.now + took, number, took, overload))

        end = clock.now + seconds
        while clock.now < end:
            while len(waiting) < 3:
                waiting.add(asyncio.create_task(send()))
                await asyncio.sleep(0)
                waiting = {task for task in waiting if not task.done()}
            clock.now, _, took, overload = heapq.heappop(events)
            window.leave(took, overload)
            seen.append((clock.now, window.places, overload))
            for _ in range(3):
                await asyncio.sleep(0)
            waiting = {task for task in waiting if not task.done()}
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        for _ in events:
            window.abandon()
        return seen

    return asyncio.run(run())


def late(seen: list[tuple[float, int, bool]]) -> list[tuple[float, int, bool]]:
    return seen[len(seen) // 2 :]


def test_window_grows_to_its_cap_with_a_server_that_keeps_up() -> None:
    clock = Clock()
    window = Window(256, clock)
    simulate(window, clock, 20.0, lambda n: (1.0, False))
    assert window.places == 256


def test_window_finds_the_number_that_a_server_refuses_above() -> None:
    clock = Clock()
    window = Window(256, clock)
    seen = late(simulate(window, clock, 300.0, lambda n: (0.01, True) if n > 40 else (1.0, False)))
    good = sum(not overload for _, _, overload in seen) / (seen[-1][0] - seen[0][0])
    assert good > 0.7 * 40  # of the 40 a second that the server can do
    assert max(places for _, places, _ in seen) < 80


def test_window_is_not_starved_by_refusals_that_come_at_random() -> None:
    clock, rng = Clock(), random.Random(0)
    window = Window(256, clock)
    seen = late(simulate(window, clock, 120.0, lambda n: (1.0, rng.random() < 0.2)))
    assert min(places for _, places, _ in seen) >= 8


def test_window_recovers_from_a_storm_within_seconds() -> None:
    clock = Clock()
    window = Window(256, clock)
    storm = clock.now + 10.0
    simulate(window, clock, 10.0, lambda n: (0.5, False))
    simulate(window, clock, 20.0, lambda n: (0.05, clock.now < storm + 20.0))
    assert window.places <= 2
    simulate(window, clock, 10.0, lambda n: (0.5, False))
    assert window.places >= 30


def test_window_sees_a_server_that_queues_and_never_refuses() -> None:
    # Eight places that take a second each: more in flight only wait (DataDesigner #634).
    clock, rng = Clock(), random.Random(0)
    window, free = Window(256, clock), [0.0] * 8

    def answer(n: int) -> tuple[float, bool]:
        done = max(clock.now, heapq.heappop(free)) + rng.uniform(0.8, 1.2)
        heapq.heappush(free, done)
        return done - clock.now, False

    seen = late(simulate(window, clock, 300.0, answer))
    assert max(places for _, places, _ in seen) <= 40


def test_window_hands_places_out_in_order_and_forgets_who_gave_up() -> None:
    async def run() -> list[int]:
        window, order = Window(1), []

        async def call(number: int) -> None:
            await window.enter()
            order.append(number)
            await asyncio.sleep(0)
            window.abandon()

        tasks = [asyncio.create_task(call(number)) for number in range(4)]
        await asyncio.sleep(0)
        tasks[2].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert window.in_flight == 0
        return order

    assert asyncio.run(run()) == [0, 1, 3]


def test_pace_spreads_requests_evenly() -> None:
    clock = Clock()
    pace = Pace(600, clock)  # ten a second
    waits = [pace.take(1) for _ in range(40)]
    assert waits[:10] == [0] * 10
    assert abs(waits[-1] - 3.0) < 1e-6


def test_pace_lets_a_large_taking_go_and_makes_the_next_wait() -> None:
    clock = Clock()
    pace = Pace(60_000, clock)  # a thousand tokens a second
    assert pace.take(5000) == 0
    assert abs(pace.take(1000) - 5.0) < 1e-6
    pace.give_back(4000)
    assert abs(pace.take(1000) - 2.0) < 1e-6


def test_pace_without_a_limit_never_waits() -> None:
    assert Pace(None).take(1e9) == 0


def test_health_gives_up_on_failures_only() -> None:
    clock = Clock()
    health = Health(clock)
    for _ in range(100):
        health.failure("HTTP 429")
        clock.now += 0.5
        health.success()
    assert health.down() is None
    for _ in range(60):
        health.failure("HTTP 429")
        clock.now += 0.5
    assert "HTTP 429" in (health.down() or "")


def test_health_waits_when_told_to_and_gives_up_within_a_minute() -> None:
    clock = Clock()
    health = Health(clock)
    waited = 0.0
    while health.down() is None:
        for _ in range(6):
            health.failure("HTTP 429", retry_after=20.0)
        waited += 0 if health.down() else health.pause()
        clock.now += health.pause()
    assert 20.0 <= waited < 60.0


def test_health_grants_a_server_that_worked_its_minute() -> None:
    clock = Clock()
    fresh, proven = Health(clock), Health(clock)
    proven.success()
    for health in (fresh, proven):
        for _ in range(6):
            health.failure("HTTP 429", retry_after=58.0)
    assert fresh.down() is not None
    assert proven.down() is None
    clock.now += 58.0
    proven.failure("HTTP 429", retry_after=58.0)
    assert proven.down() is not None


@pytest.mark.parametrize("asked", [600.0, 3600.0, 86_400.0])
def test_health_gives_up_where_most_calls_are_told_to_wait_for_long(asked: float) -> None:
    health = Health(Clock())
    for number in range(100):  # one in five succeeds, so that there is no streak
        if number % 5 == 4:
            health.success()
        else:
            health.failure("HTTP 429", retry_after=asked)
        if health.down():
            break
    assert f"asks to wait {asked:.0f} s more (HTTP 429)" in (health.down() or "")


def test_health_pauses_everything_only_when_most_calls_are_refused() -> None:
    health = Health(Clock())
    for _ in range(20):
        health.success()
    health.failure("HTTP 429", retry_after=30.0)
    assert health.pause() == 0


def test_health_waits_for_a_server_that_loads_its_model() -> None:
    clock = Clock()
    health = Health(clock)
    for _ in range(int(limits.LOADING_S / 4)):
        health.failure("HTTP 503: Loading model", loading=True, retry_after=60.0)
        clock.now += 4.0
        assert health.down() is None
    health.failure("HTTP 503: Loading model", loading=True)
    clock.now += 70.0
    assert "Loading model" in (health.down() or "")
    health.success()
    assert health.down() is None


@pytest.mark.parametrize("patience", [5.0, 100.0, 4000.0])
def test_health_is_as_patient_as_it_is_told(patience: float) -> None:
    clock = Clock()
    health, began = Health(clock, patience), clock.now
    while health.down() is None:
        health.failure("HTTP 500")
        clock.now += 1.0
    assert patience < clock.now - began < patience + 7.0
    waiting = Health(clock, patience)
    for _ in range(6):
        waiting.failure("HTTP 429", retry_after=90.0)
    assert (waiting.down() is None) == (patience >= 90.0)
