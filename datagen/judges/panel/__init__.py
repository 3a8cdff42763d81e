"""A panel of judges: each image is decoded once, brought to each view and embedded by each backbone once.

The only place where images are judged: for a run, for `datagen judge` and for the trainer's evaluation. An image can
be judged against any texts; where its embeddings are at hand it is not decoded at all for the judges that read those.
What cannot be judged becomes an answer with its error.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from datagen import judges
from datagen.errors import ModelError
from datagen.images.ahead import prefetch
from datagen.judges.panel.entries import Answer, Compared, Duel, Met, Question
from datagen.judges.panel.inputs import backbones, wanted_views
from datagen.judges.panel.prepared import NO_RIVAL, Prepared
from datagen.llm import LlmOptions
from datagen.recipe import JudgeChoice

__all__ = ["NO_RIVAL", "Answer", "Compared", "Duel", "Met", "Question", "backbones"]

CHUNK = 32  # images that are judged at a time
AHEAD = 4  # chunks that may be decoded before they are asked for
Entry = TypeVar("Entry")


def load(choices: Iterable[JudgeChoice]) -> list[judges.Judge]:
    """The judges that were chosen, in order; ModelError for what is missing or wrong, before anything is asked."""
    found: dict[str, str] = {}
    panel = []
    for choice in choices:
        judge = judges.load(choice.name, choice.options)
        if judge.name in found:
            raise ModelError(f"{found[judge.name]} and {choice.name} are both called {judge.name!r}: leave one out")
        found[judge.name] = choice.name
        panel.append(judge)
    return panel


def able(panel: Iterable[judges.Judge], method: str) -> list[judges.Judge]:
    """Those that have a method: `score`, `compare` or `answer`."""
    return [judge for judge in panel if hasattr(judge, method)]


def views(panel: Iterable[judges.Judge]) -> tuple[Any, ...]:
    """What the judges and their backbones see of an image; None: the picture itself."""
    return wanted_views(panel, ())


def of_the_world(panel: Iterable[judges.Judge]) -> str:
    """Which judges know the embedded model's pictures only, in words: what they say of others means nothing; or ""."""
    names = [judge.name for judge in panel if judge.facts.judges_world_only]
    return f"{' and '.join(names)} can judge the embedded model's images only" if names else ""


def failed(data: bytes | None, error: str | None) -> str | None:
    """Why an image of a run is not judged, None if it can be."""
    return f"no image: {error}" if data is None else None


def chunks(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """A few at a time, as many as `ask` should be given."""
    iterator = iter(entries)
    while chunk := list(itertools.islice(iterator, CHUNK)):
        yield chunk


def ask(panel: Sequence[judges.Judge], questions: Sequence[Question]) -> list[Answer]:
    """What each judge says of each image, in order; ModelError for one that misbehaves."""
    return Prepared.of(panel, questions).judge()


def stream(
    panel: Sequence[judges.Judge], questions: Iterable[Sequence[Question]], *, fast: bool = False
) -> Iterator[list[Answer]]:
    """As `ask`, chunk by chunk; while one is judged, threads decode the images of the next.

    `fast` decodes JPEGs at a part of their size where all views are smaller still; scores are near the references'
    then, but not theirs.
    """
    for prepared in _prepared(panel, questions, fast):
        yield prepared.judge()


def _prepared(
    panel: Sequence[judges.Judge], questions: Iterable[Sequence[Question]], fast: bool
) -> Iterator[Prepared]:
    return prefetch(functools.partial(Prepared.of, panel, fast=fast), questions, AHEAD)


def stream_pairs(
    panel: Sequence[judges.Judge], questions: Iterable[Sequence[Question]], *, fast: bool = False
) -> Iterator[tuple[list[Answer], list[Met]]]:
    """As `stream`, of chunks in which the images of a pair follow each other; and what comes of comparing those two
    by the first text of the first."""
    for prepared in _prepared(panel, questions, fast):
        firsts = enumerate(prepared.questions[::2])
        yield prepared.judge(), prepared.compare([(2 * k, 2 * k + 1, first.texts[0] or "") for k, first in firsts])


def compare(panel: Sequence[judges.Judge], duels: Sequence[Duel]) -> list[Met]:
    """For each duel and each judge that compares: how probably each image beats the other when it is shown first.

    A judge without a liking for a place says p and 1 − p.
    """
    images = dict.fromkeys(data for duel in duels for data in (duel.first, duel.second))
    at = {data: place for place, data in enumerate(images)}
    prepared = Prepared.of(able(panel, "compare"), [Question(data, ()) for data in images])
    return prepared.compare([(at[duel.first], at[duel.second], duel.text) for duel in duels])


@contextlib.contextmanager
def connected(panel: Iterable[judges.Judge], llm: LlmOptions) -> Iterator[None]:
    """Connect the judges that ask a server; EndpointError if the environment names none that can be asked."""
    with contextlib.ExitStack() as stack:
        for server in servers(panel):
            stack.enter_context(server.connected(llm))
        yield


def servers(panel: Iterable[judges.Judge]) -> list[Any]:
    """What the judges ask, of those that ask a server; `asking.Server`."""
    return [judge.server for judge in panel if hasattr(judge, "server")]


def notes(judge: judges.Judge) -> str:
    """What is to be said of how a judge's answers were read so far; "" for nothing."""
    server = getattr(judge, "server", None)
    return "; ".join(sorted(server.notes)) if server else ""
