"""A panel of judges: each image is decoded once, brought to each view and embedded by each backbone once.

The only place where images are judged: for a run, for `datagen judge` and for the trainer's evaluation. An image can
be judged against any texts; where its embeddings are at hand it is not decoded at all for the judges that read those.
What cannot be judged becomes an answer with its error.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from datagen import judges
from datagen.errors import ModelError
from datagen.images.decode import Unreadable, decode
from datagen.judges.protocol import Backbone
from datagen.judges.views import make
from datagen.recipe import JudgeChoice

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    Values = NDArray[np.float64]

CHUNK = 32  # images in memory at a time
Entry = TypeVar("Entry")


@dataclasses.dataclass(frozen=True)
class Question:
    """An image, encoded or decoded, with the texts it is scored against and the questions it is asked, or why not.

    All of a chunk have as many texts, and as many questions. `embeddings` are those that are known, by the identity of
    their backbone.
    """

    source: bytes | Path | Image | None
    texts: tuple[str, ...]
    error: str | None = None
    questions: tuple[str, ...] = ()
    embeddings: Mapping[str, NDArray[np.float32]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Answer:
    """What each judge says of one image, by name; NaN where it abstained, and everywhere if there is an error.

    `scores` are (texts, columns); of a judge that reads no text (1, columns). `replies` are (questions,), `embeddings`
    (D,) by backbone.
    """

    scores: dict[str, Values]
    replies: dict[str, Values] = dataclasses.field(default_factory=dict)
    embeddings: dict[str, NDArray[np.float32]] = dataclasses.field(default_factory=dict)
    error: str | None = None


@dataclasses.dataclass(frozen=True)
class Duel:
    """Two encoded images and the text by which they are compared."""

    first: bytes
    second: bytes
    text: str


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
    return {need.identity: need for need in needs if isinstance(need, Backbone)}


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


def compare(panel: Sequence[judges.Judge], duels: Sequence[Duel]) -> list[dict[str, tuple[float, float]]]:
    """For each duel and each judge that compares: how probably each image beats the other when it is shown first.

    A judge without a liking for a place says p and 1 − p. Images that cannot be decoded are not for here.
    """
    able_ = able(panel, "compare")
    images = {data: decode(data) for duel in duels for data in (duel.first, duel.second)}
    inputs = _Inputs([images[data] for data in images], {})
    inputs.bring(able_)
    at = {data: place for place, data in enumerate(images)}
    first, second = [at[duel.first] for duel in duels], [at[duel.second] for duel in duels]
    texts = [duel.text for duel in duels]
    found: list[dict[str, tuple[float, float]]] = [{} for _ in duels]
    for judge in able_ if duels else []:
        given: Any = judge
        ahead = given.compare(inputs.of(judge, first + second), inputs.of(judge, second + first), texts + texts)
        values = _held(judge, ahead, 2 * len(duels)).reshape(2, -1)
        for place, (one, other) in enumerate(values.T):
            found[place][judge.name] = float(one), float(other)
    return found


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A chunk whose images are decoded and brought to all views; that much can be done while the judges are busy."""

    panel: Sequence[judges.Judge]
    questions: Sequence[Question]
    inputs: _Inputs
    errors: list[str | None]  # of each question

    @classmethod
    def of(cls, panel: Sequence[judges.Judge], questions: Sequence[Question]) -> Prepared:
        """Decode the images of a chunk, those alone that a judge or a backbone has to look at."""
        known = [question.embeddings for question in questions if question.error is None]
        common = set[str]().union(*known).intersection(*known)
        see = _must_see(panel, common)
        results = [_image(question, see) for question in questions]
        errors = [result if isinstance(result, str) else None for result in results]
        kept = [place for place, error in enumerate(errors) if error is None]
        stacked = _stacked(common, [questions[place].embeddings for place in kept])
        inputs = _Inputs([results[place] for place in kept], stacked)
        inputs.bring(panel)
        return cls(panel, questions, inputs, errors)

    def judge(self) -> list[Answer]:
        """What each judge says; ModelError for one that misbehaves."""
        import numpy as np

        asked = [question for question, error in zip(self.questions, self.errors, strict=True) if error is None]
        scores = {judge.name: self._scores(judge, asked) for judge in able(self.panel, "score")}
        replies = {judge.name: self._replies(judge, asked) for judge in able(self.panel, "answer")}
        embeddings = {name: self.inputs.embedded(backbone) for name, backbone in backbones(self.panel).items()}
        answers, place = [], itertools.count()
        for question, error in zip(self.questions, self.errors, strict=True):
            if error is not None:
                silent = {j.name: np.full(_shape(j, question), np.nan) for j in able(self.panel, "score")}
                mute = {j.name: np.full(len(question.questions), np.nan) for j in able(self.panel, "answer")}
                answers.append(Answer(silent, mute, {}, error))
                continue
            at = next(place)
            mine = [{name: values[at] for name, values in table.items()} for table in (scores, replies, embeddings)]
            answers.append(Answer(mine[0], mine[1], mine[2]))
        return answers

    def _scores(self, judge: judges.Judge, asked: Sequence[Question]) -> Values:
        """(images, texts, columns); of a judge that reads no text, one for all of them."""
        import numpy as np

        rows = len(asked)
        if not rows or not _shape(judge, asked[0])[0]:
            return np.zeros((rows, *_shape(judge, asked[0] if asked else None)))
        texts = [question.texts for question in asked] if judge.facts.reads_text else [("",)] * rows
        count = len(texts[0])
        flat = [of_image[k] for k in range(count) for of_image in texts]
        given: Any = judge
        said = given.score(self.inputs.of(judge, list(range(rows)) * count), flat)
        columns = len(judge.facts.categories)
        values = _held(judge, said, len(flat), columns)
        return values.reshape(count, rows, columns or 1).transpose(1, 0, 2)

    def _replies(self, judge: judges.Judge, asked: Sequence[Question]) -> Values:
        """(images, questions)."""
        import numpy as np

        count = len(asked[0].questions) if asked else 0
        if not count:
            return np.zeros((len(asked), 0))
        flat = [question.questions[k] for k in range(count) for question in asked]
        given: Any = judge
        said = given.answer(self.inputs.of(judge, list(range(len(asked))) * count), flat)
        return _held(judge, said, len(flat)).reshape(count, len(asked)).T


class _Inputs:
    """The images of a chunk in every form that its judges read, each made once."""

    def __init__(self, images: list[Any], embeddings: dict[str, NDArray[np.float32]]) -> None:
        self._images, self._embeddings = images, embeddings
        self._views: dict[Any, list[Any]] = {None: images}

    def bring(self, panel: Iterable[judges.Judge]) -> None:
        """Make the views that the judges and their backbones read."""
        needs = [getattr(judge, "needs", None) for judge in panel]
        wanted = [
            (None if need.identity in self._embeddings else need.view) if isinstance(need, Backbone) else need
            for need in needs
        ]
        views: list[Any] = list(dict.fromkeys(view for view in wanted if view is not None))
        self._views |= {view: [] for view in views}
        for image in self._images:
            for view, pixels in make(image, views).items():
                self._views[view].append(pixels)

    def of(self, judge: judges.Judge, places: list[int]) -> Any:
        """What a judge is given for the images of these places: one object an image, or rows of its embeddings."""
        need: Any = getattr(judge, "needs", None)
        if isinstance(need, Backbone):
            return self.embedded(need)[places]
        forms = self._views[need]
        return [forms[place] for place in places]

    def embedded(self, backbone: Backbone) -> NDArray[np.float32]:
        """(images, D), made once a chunk."""
        import numpy as np

        if backbone.identity not in self._embeddings:
            views = self._views[backbone.view]
            made = backbone.images(views) if views else np.zeros((0, 0), np.float32)
            if not np.isfinite(made).all():
                raise ModelError(f"{backbone.identity} gives embeddings that are not finite numbers")
            self._embeddings[backbone.identity] = made
        return self._embeddings[backbone.identity]


def _must_see(panel: Iterable[judges.Judge], known: set[str]) -> bool:
    """Whether any judge reads more of an image than the embeddings that are known."""
    needs = (getattr(judge, "needs", None) for judge in panel)
    return any(not (isinstance(need, Backbone) and need.identity in known) for need in needs)


def _image(question: Question, see: bool) -> Any:
    """The decoded image, None where nobody has to look, or in words why there is none."""
    if question.error is not None:
        return question.error
    if not see:
        return None
    if question.source is None:
        return "no image"
    if not isinstance(question.source, bytes | Path):
        return question.source
    try:
        return decode(question.source)
    except Unreadable as error:
        return str(error)


def _stacked(names: set[str], known: list[Mapping[str, NDArray[np.float32]]]) -> dict[str, NDArray[np.float32]]:
    """The embeddings that are known of every image of a chunk, one array a backbone."""
    import numpy as np

    return {name: np.stack([one[name] for one in known]) for name in names} if known else {}


def _shape(judge: judges.Judge, question: Question | None) -> tuple[int, int]:
    """Texts and columns of what a judge says of one image."""
    texts = len(question.texts) if question else 0
    return (texts if judge.facts.reads_text else 1), len(judge.facts.categories) or 1


def _held(judge: judges.Judge, said: Any, count: int, columns: int = 0) -> Values:
    """What a judge gave as float64, held to what it may give; ModelError."""
    import numpy as np

    values = np.asarray(said)
    shape = (count, columns) if columns else (count,)
    if values.shape != shape or not np.issubdtype(values.dtype, np.number) or np.isinf(values).any():
        each = f"{columns} finite numbers" if columns else "one finite number"
        raise ModelError(
            f"the judge {judge.name} gave {values.dtype} of shape {values.shape} for {count} images; "
            f"{each} each {'are' if columns else 'is'} needed, NaN abstains"
        )
    return values.astype(np.float64)
