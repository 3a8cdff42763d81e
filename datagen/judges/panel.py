"""A panel of judges: each image is decoded once, brought to each view and embedded by each backbone once.

The only place where images are judged: for a run, for `datagen judge` and for the trainer's evaluation. An image can
be judged against any texts; where its embeddings are at hand it is not decoded at all for the judges that read those.
What cannot be judged becomes an answer with its error.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import math
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard, TypeVar

from datagen import judges
from datagen.errors import ModelError
from datagen.images.ahead import prefetch
from datagen.images.decode import Unreadable, decode
from datagen.judges.protocol import Backbone
from datagen.judges.views import enough, make
from datagen.llm import LlmOptions
from datagen.recipe import JudgeChoice

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    Values = NDArray[np.float64]

CHUNK = 32  # images that are judged at a time
LOOKING = threading.Lock()  # at what judges need: some load their network for it, which threads would do several times
NO_RIVAL = "compared with an image that cannot be judged"
AHEAD = 4  # chunks that may be decoded before they are asked for
Entry = TypeVar("Entry")


@dataclasses.dataclass(frozen=True)
class Question:
    """An image, encoded or decoded, with the texts it is scored against and the questions it is asked, or why not.

    All of a chunk have as many texts, and as many questions, None where there is nothing to ask. `dear` are the places
    of the texts that are worth asking a dear judge about, `free` those that only judges who read embeddings are asked
    about, to whom one more text costs no look at the image. `embeddings` are those that are known, by the identity of
    their backbone.
    """

    source: bytes | Path | Image | None
    texts: tuple[str | None, ...]
    error: str | None = None
    questions: tuple[str | None, ...] = ()
    dear: tuple[int, ...] = (0,)
    embeddings: Mapping[str, NDArray[np.float32]] = dataclasses.field(default_factory=dict)
    free: tuple[int, ...] = ()


class Answer(NamedTuple):
    """What each judge says of one image, by name; NaN where it abstained, and everywhere if there is an error.

    `scores` are (texts, columns); of a judge that reads no text (1, columns). `replies` are (questions,), `embeddings`
    (D,) by backbone. `failures` say why a judge could not be read.
    """

    scores: Mapping[str, Values]
    replies: Mapping[str, Values]
    embeddings: Mapping[str, NDArray[np.float32]]
    error: str | None = None
    failures: Mapping[str, str] = MappingProxyType({})

    def error_of(self, judge: str) -> str | None:
        """Why there is nothing of a judge, None if it spoke, or abstained."""
        return self.error or self.failures.get(judge)


@dataclasses.dataclass(frozen=True)
class Duel:
    """Two encoded images and the text by which they are compared."""

    first: bytes
    second: bytes
    text: str


@dataclasses.dataclass(frozen=True)
class Compared:
    """The probability that the image that is shown first beats the other; NaN, and why, where there is none."""

    p: float
    failure: str | None = None


# What each judge that compares says of two images, by name: of the first when it is shown first, then of the second.
Met = dict[str, tuple[Compared, Compared]]


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


def backbones(panel: Iterable[judges.Judge]) -> dict[str, Backbone]:
    """The networks whose embeddings the judges read, by identity; each once."""
    needs = (getattr(judge, "needs", None) for judge in panel)
    return {need.identity: need for need in needs if _embeds(need)}


def views(panel: Iterable[judges.Judge]) -> tuple[Any, ...]:
    """What the judges and their backbones see of an image; None: the picture itself."""
    return _wanted(panel, ())


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


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A chunk whose images are decoded and brought to all views; that much can be done while the judges are busy."""

    panel: Sequence[judges.Judge]
    questions: Sequence[Question]
    inputs: _Inputs
    errors: list[str | None]  # of each question

    @classmethod
    def of(cls, panel: Sequence[judges.Judge], questions: Sequence[Question], *, fast: bool = False) -> Prepared:
        """Decode the images of a chunk, those alone that a judge or a backbone has to look at.

        A decoded picture is let go as soon as its views are made, unless a judge reads the picture itself.
        """
        known = [question.embeddings for question in questions if question.error is None]
        common = set[str]().union(*known).intersection(*known)
        with LOOKING:
            wanted = _wanted(panel, common)
        at_least = enough(wanted) if fast else None
        results = [_forms(question, wanted, at_least) for question in questions]
        errors = [result if isinstance(result, str) else None for result in results]
        kept = [place for place, error in enumerate(errors) if error is None]
        stacked = _stacked(common, [questions[place].embeddings for place in kept])
        inputs = _Inputs(wanted, [results[place] for place in kept], stacked)
        return cls(panel, questions, inputs, errors)

    def judge(self) -> list[Answer]:
        """What each judge says; ModelError for one that misbehaves."""
        asked = [question for question, error in zip(self.questions, self.errors, strict=True) if error is None]
        said = {judge.name: _Said(judge, asked) for judge in self.panel}
        for judge in self.panel:
            said[judge.name].hear(self.inputs)
        embeddings = {name: self.inputs.embedded(backbone) for name, backbone in backbones(self.panel).items()}
        scores = {name: one.scores for name, one in said.items() if one.scores is not None}
        replies = {name: one.replies for name, one in said.items() if one.replies is not None}
        failing = {name: one.failures for name, one in said.items() if one.failures}
        each = [_by_image(values, len(asked)) for values in (scores, replies, embeddings)]
        answers, place = list[Answer](), itertools.count()
        for question, error in zip(self.questions, self.errors, strict=True):
            if error is not None:
                answers.append(_silent(self.panel, question, error))
                continue
            at = next(place)
            failures = {name: why[at] for name, why in failing.items() if at in why} if failing else {}
            answers.append(Answer(each[0][at], each[1][at], each[2][at], None, failures))
        return answers

    def compare(self, met: Sequence[tuple[int, int, str]]) -> list[Met]:
        """What comes of comparing images by their places, in both orders, by a text; where one has an error, that."""
        able_ = able(self.panel, "compare")
        found: list[Met] = [{judge.name: self._failed(one, other) for judge in able_} for one, other, _ in met]
        asked = [k for k, (one, other, _) in enumerate(met) if self.errors[one] is self.errors[other] is None]
        kept = (place for place, error in enumerate(self.errors) if error is None)
        places = {place: at for at, place in enumerate(kept)}
        first, second = [places[met[place][0]] for place in asked], [places[met[place][1]] for place in asked]
        texts = [met[place][2] for place in asked]
        for judge in able_ if asked else []:
            given: Any = judge
            inputs = self.inputs.of(judge, first + second), self.inputs.of(judge, second + first)
            values, failures = _held(judge, given.compare(*inputs, texts + texts), 2 * len(asked))
            answers = [Compared(float(p), failure) for p, failure in zip(values, failures, strict=True)]
            for at, place in enumerate(asked):
                found[place][judge.name] = answers[at], answers[len(asked) + at]
        return found

    def _failed(self, one: int, other: int) -> tuple[Compared, Compared]:
        """Why two images are not compared, each way."""
        whys = [(self.errors[own], self.errors[rival]) for own, rival in ((one, other), (other, one))]
        first, second = (Compared(math.nan, own or f"{NO_RIVAL}: {rival}") for own, rival in whys)
        return first, second


def _by_image(values: Mapping[str, NDArray[Any]], count: int) -> list[dict[str, Any]]:
    """The rows of arrays by name, as a dictionary for each of `count` images."""
    found: list[dict[str, Any]] = [{} for _ in range(count)]
    for name, rows in values.items():
        for one, row in zip(found, rows, strict=True):
            one[name] = row
    return found


class _Said:
    """What one judge says of the images of a chunk; `failures` by image."""

    def __init__(self, judge: judges.Judge, asked: Sequence[Question]) -> None:
        self._judge, self._asked = judge, asked
        self.scores: Values | None = None  # (images, texts, columns)
        self.replies: Values | None = None  # (images, questions)
        self.failures: dict[int, str] = {}

    def hear(self, inputs: _Inputs) -> None:
        """Ask the judge for all that it can say."""
        judge, rows, columns = self._judge, len(self._asked), len(self._judge.facts.categories)
        if hasattr(judge, "score"):
            texts = [_texts(judge, question) for question in self._asked]
            scores = self._ask(inputs, "score", texts, columns)
            self.scores = scores.reshape(rows, len(texts[0]) if texts else 0, columns or 1)
        if hasattr(judge, "answer"):
            questions = [question.questions for question in self._asked]
            self.replies = self._ask(inputs, "answer", questions).reshape(rows, len(questions[0]) if questions else 0)

    def _ask(self, inputs: _Inputs, method: str, texts: Sequence[Sequence[str | None]], columns: int = 0) -> Values:
        """One value, or `columns`, for each image and text; NaN where there is no text."""
        import numpy as np

        count = len(texts[0]) if texts else 0
        places = [(row, k) for k in range(count) for row in range(len(texts)) if texts[row][k] is not None]
        values = np.full((len(texts), count, columns or 1), np.nan)
        if places:
            rows = [row for row, _ in places]
            given: Any = getattr(self._judge, method)
            said = given(inputs.of(self._judge, rows), [texts[row][k] for row, k in places])
            held, failures = _held(self._judge, said, len(places), columns)
            for (row, _), failure in zip(places, failures, strict=True):
                if failure is not None:
                    self.failures.setdefault(row, failure)
            values[rows, [k for _, k in places]] = held.reshape(len(places), -1)
        return values


def _texts(judge: judges.Judge, question: Question) -> tuple[str | None, ...]:
    """The texts that a judge is asked about; of one that reads none there is one answer."""
    if not judge.facts.reads_text:
        return ("",)
    left_out = set[int]() if _embeds(getattr(judge, "needs", None)) else set(question.free)
    if judge.facts.dear:
        left_out |= set(range(len(question.texts))) - set(question.dear)
    return tuple(None if place in left_out else text for place, text in enumerate(question.texts))


def _silent(panel: Iterable[judges.Judge], question: Question, error: str) -> Answer:
    """The answer about an image that cannot be judged."""
    import numpy as np

    scores = {
        judge.name: np.full((len(_texts(judge, question)), len(judge.facts.categories) or 1), np.nan)
        for judge in able(panel, "score")
    }
    replies = {judge.name: np.full(len(question.questions), np.nan) for judge in able(panel, "answer")}
    return Answer(scores, replies, {}, error)


class _Inputs:
    """The images of a chunk in every form that its judges read, each made once."""

    def __init__(
        self, wanted: Sequence[Any], forms: Sequence[Any], embeddings: dict[str, NDArray[np.float32]]
    ) -> None:
        self._views = {view: [form[view] for form in forms] for view in wanted}
        self._embeddings = embeddings

    def of(self, judge: judges.Judge, places: list[int]) -> Any:
        """What a judge is given for the images of these places: one object an image, or rows of its embeddings."""
        need: Any = getattr(judge, "needs", None)
        if _embeds(need):
            return self.embedded(need)[places]
        forms = self._views[need]
        return [forms[place] for place in places]

    def embedded(self, backbone: Backbone) -> NDArray[np.float32]:
        """(images, D), made once a chunk."""
        import numpy as np

        if backbone.identity not in self._embeddings:
            views = self._views.get(backbone.view, [])  # none where all images of the chunk failed
            made = backbone.images(views) if views else np.zeros((0, 0), np.float32)
            if not np.isfinite(made).all():
                raise ModelError(f"{backbone.identity} gives embeddings that are not finite numbers")
            self._embeddings[backbone.identity] = made
        return self._embeddings[backbone.identity]


def _wanted(panel: Iterable[judges.Judge], known: Collection[str]) -> tuple[Any, ...]:
    """The views that the judges and their backbones read, None for the picture itself; of a backbone whose embeddings
    are known none."""
    needs: list[Any] = [getattr(judge, "needs", None) for judge in panel]
    needs = [need for need in needs if not (_embeds(need) and need.identity in known)]
    return tuple(dict.fromkeys(need.view if _embeds(need) else need for need in needs))


def _embeds(need: Any) -> TypeGuard[Backbone]:
    """Whether a judge needs a backbone; asked of a method, as a property might load its network."""
    return hasattr(need, "images")


def _forms(question: Question, wanted: Sequence[Any], at_least: int | None) -> Any:
    """The image in each view, or in words why there is none; empty where nobody has to look."""
    if question.error is not None:
        return question.error
    if not wanted:
        return {}
    if question.source is None:
        return "no image"
    if not isinstance(question.source, bytes | Path):
        return _brought(question.source, wanted)
    try:
        return _brought(decode(question.source, at_least), wanted)
    except Unreadable as error:
        return str(error)


def _brought(image: Any, wanted: Sequence[Any]) -> dict[Any, Any]:
    """A picture in each view."""
    forms: dict[Any, Any] = {None: image} if None in wanted else {}
    return forms | make(image, [view for view in wanted if view is not None])


def _stacked(names: set[str], known: list[Mapping[str, NDArray[np.float32]]]) -> dict[str, NDArray[np.float32]]:
    """The embeddings that are known of every image of a chunk, one array a backbone."""
    import numpy as np

    if not known:
        return {}
    return {name: np.concatenate([one[name] for one in known]).reshape(len(known), -1) for name in names}


def _held(judge: judges.Judge, said: Any, count: int, columns: int = 0) -> tuple[Values, list[str | None]]:
    """What a judge gave as float64, held to what it may give, and of what it failed why; ModelError."""
    import numpy as np

    failures: list[str | None] = [None] * count
    if isinstance(said, list) and len(said) == count:
        failures = [str(value) if isinstance(value, judges.Failed) else None for value in said]
        nothing = (np.nan,) * columns if columns else np.nan
        said = [nothing if failure is not None else value for value, failure in zip(said, failures, strict=True)]
    values = np.asarray(said)
    shape = (count, columns) if columns else (count,)
    if values.shape != shape or not np.issubdtype(values.dtype, np.number) or np.isinf(values).any():
        each = f"{columns} finite numbers" if columns else "one finite number"
        raise ModelError(
            f"the judge {judge.name} gave {values.dtype} of shape {values.shape} for {count} images; "
            f"{each} each {'are' if columns else 'is'} needed, NaN abstains"
        )
    return values.astype(np.float64), failures
