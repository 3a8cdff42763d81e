"""A second model, for what the first refuses or fails on for good, and for all that is left when its server is down.

What the second has answered in this run is not asked of the first again. A wrong key, an unknown model and a spent
budget are the run's end, whichever model they are of.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

from datagen.errors import NoAnswers, ServerError
from datagen.llm.messages import Reply, Request, Usage

BY_FALLBACK = " (fallback)"  # at the end of the name of the model that a reply is by

Stream = Callable[[Sequence[Request]], Iterator[tuple[int, Reply]]]  # (index, reply) as they come
Known = Callable[[Request], bool]


class Fallback:
    """Asks `first`, and `second` where that gives nothing; both keep the accounts and the cache of one run.

    `answered` says whether the second answered a request in this run, `cached` whether a reply of the first is kept.
    `second` is opened when it is first needed.
    """

    def __init__(
        self, first: Stream, second: Callable[[], Stream], answered: Known, cached: Known, say: Callable[[str], None]
    ) -> None:
        self._first, self._open, self._answered, self._cached, self._say = first, second, answered, cached, say
        self._second: Stream | None = None
        self._down = False

    def __call__(self, requests: Sequence[Request]) -> Iterator[tuple[int, Reply]]:
        """(index, reply) of all requests, those of the first model first."""
        failed: dict[int, Reply] = {}
        todo = dict(enumerate(requests))
        places = [index for index, request in todo.items() if self._asks_first(request)]
        try:
            for place, reply in self._first([requests[index] for index in places]) if places else ():
                index = places[place]
                if reply.error is None:
                    del todo[index]
                    yield index, reply
                else:
                    failed[index] = reply
        except (ServerError, NoAnswers) as error:
            self._down = True
            self._say(f"{error}; from now on the fallback model is asked")
        if not todo:
            return
        self._second = self._second or self._open()
        places = list(todo)
        for place, reply in self._second([todo[index] for index in places]):
            yield places[place], _by_fallback(reply, failed.get(places[place]))

    def _asks_first(self, request: Request) -> bool:
        if self._cached(request):
            return True
        return not self._down and not self._answered(request)


def _by_fallback(reply: Reply, before: Reply | None) -> Reply:
    """The second model's reply, at the cost of both."""
    first, second = before.usage if before else Usage(), reply.usage
    usage = Usage(
        first.input_tokens + second.input_tokens,
        first.output_tokens + second.output_tokens,
        first.cost + second.cost,
    )
    return dataclasses.replace(reply, model=f"{reply.model}{BY_FALLBACK}", usage=usage)
