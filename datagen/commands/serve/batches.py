"""Images of all requests judged together: while one batch is judged, the next one gathers."""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from datagen.commands.serve.wire import Item
from datagen.errors import one_line
from datagen.judges import Judge, panel
from datagen.judges.panel import Answer, Question

MOST = 64  # images that are judged at once
WAITING = 8192  # images that may wait; more are turned away
NO_TEXT = "it reads the text, and there is none"
Said = Mapping[str, Answer | str]


class Full(Exception):
    """More images wait than will be judged soon."""


class Batches:
    """Takes items, hands back what each judge said of them; judges in one thread of its own.

    A judge that raises is asked no less of the next batch, and takes no other judge's answer with it.
    """

    def __init__(self, judges: Sequence[Judge], most: int = MOST, told: Callable[[int], None] = lambda size: None):
        self._judges = {judge.name: judge for judge in judges}
        self._most, self._told = most, told
        self._waiting = collections.deque[tuple[Item, asyncio.Future[Said]]]()
        self._there = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "judges")

    @property
    def waiting(self) -> int:
        """Images that wait to be judged."""
        return len(self._waiting)

    async def score(self, items: Sequence[Item]) -> list[Said]:
        """What each judge says of each item, or why it cannot; Full if too many wait."""
        if self.waiting + len(items) > max(WAITING, len(items)):
            raise Full
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in items]
        self._waiting.extend(zip(items, futures, strict=True))
        self._there.set()
        return list(await asyncio.gather(*futures))

    async def run(self) -> None:
        """Judge what comes, until it is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._there.wait()
            taken = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
            if not self._waiting:
                self._there.clear()
            if not taken:
                continue
            self._told(len(taken))
            try:
                answers = await loop.run_in_executor(self._thread, self.judge, [item for item, _ in taken])
            except Exception as error:  # a fault of ours, which must not keep the next batch waiting
                for _, future in taken:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), answer in zip(taken, answers, strict=True):
                if not future.done():  # its client may have gone
                    future.set_result(answer)

    def judge(self, items: Sequence[Item]) -> list[Said]:
        """What each item's judges say of it, or why they cannot."""
        found: list[dict[str, Answer | str]] = [{} for _ in items]
        groups = collections.defaultdict[tuple[str, ...], list[int]](list)
        for place, item in enumerate(items):
            asked = [name for name in self._judges if name in item.judges]
            for name in list(asked):
                if (why := item.error or self._missing(name, item)) is not None:
                    found[place][name] = why
                    asked.remove(name)
            if asked:
                groups[tuple(asked)].append(place)
        for names, places in groups.items():
            questions = [Question(items[place].image, (items[place].text,)) for place in places]
            for name, answers in self._ask(names, questions).items():
                for place, answer in zip(places, answers, strict=True):
                    found[place][name] = answer
        return list(found)

    def _missing(self, name: str, item: Item) -> str | None:
        """What a judge would need and is not given."""
        return NO_TEXT if self._judges[name].facts.reads_text and not item.text.strip() else None

    def _ask(self, names: Sequence[str], questions: Sequence[Question]) -> dict[str, Sequence[Answer | str]]:
        """All judges together, as they share what they look at; each by itself if that fails."""
        try:
            together = panel.ask([self._judges[name] for name in names], questions)
            return dict.fromkeys(names, together)
        except Exception as error:  # whatever a judge's own code raises
            if len(names) == 1:
                return {names[0]: [f"it failed: {type(error).__name__}: {one_line(error)}"] * len(questions)}
        return {name: self._ask([name], questions)[name] for name in names}

    def close(self) -> None:
        """End the thread once it is done with its batch."""
        self._thread.shutdown()
