"""What one judge says of the images of a chunk, held to what a judge may say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from datagen import judges
from datagen.errors import ModelError
from datagen.judges.panel.entries import Answer, Question
from datagen.judges.panel.inputs import Inputs, embeds

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Values = NDArray[np.float64]


class Said:
    """What one judge says of the images of a chunk; `failures` by image."""

    def __init__(self, judge: judges.Judge, asked: Sequence[Question]) -> None:
        self._judge, self._asked = judge, asked
        self.scores: Values | None = None  # (images, texts, columns)
        self.replies: Values | None = None  # (images, questions)
        self.failures: dict[int, str] = {}

    def hear(self, inputs: Inputs) -> None:
        """Ask the judge for all that it can say."""
        judge, rows, columns = self._judge, len(self._asked), len(self._judge.facts.categories)
        if hasattr(judge, "score"):
            texts = [texts_for(judge, question) for question in self._asked]
            scores = self._ask(inputs, "score", texts, columns)
            self.scores = scores.reshape(rows, len(texts[0]) if texts else 0, columns or 1)
        if hasattr(judge, "answer"):
            questions = [question.questions for question in self._asked]
            self.replies = self._ask(inputs, "answer", questions).reshape(rows, len(questions[0]) if questions else 0)

    def _ask(self, inputs: Inputs, method: str, texts: Sequence[Sequence[str | None]], columns: int = 0) -> Values:
        """One value, or `columns`, for each image and text; NaN where there is no text."""
        import numpy as np

        count = len(texts[0]) if texts else 0
        places = [(row, k) for k in range(count) for row in range(len(texts)) if texts[row][k] is not None]
        values = np.full((len(texts), count, columns or 1), np.nan)
        if places:
            rows = [row for row, _ in places]
            given: Any = getattr(self._judge, method)
            said = given(inputs.of(self._judge, rows), [texts[row][k] for row, k in places])
            held, failures = held_to(self._judge, said, len(places), columns)
            for (row, _), failure in zip(places, failures, strict=True):
                if failure is not None:
                    self.failures.setdefault(row, failure)
            values[rows, [k for _, k in places]] = held.reshape(len(places), -1)
        return values


def texts_for(judge: judges.Judge, question: Question) -> tuple[str | None, ...]:
    """The texts that a judge is asked about; of one that reads none there is one answer."""
    if not judge.facts.reads_text:
        return ("",)
    left_out = set[int]() if embeds(getattr(judge, "needs", None)) else set(question.free)
    if judge.facts.dear:
        left_out |= set(range(len(question.texts))) - set(question.dear)
    return tuple(None if place in left_out else text for place, text in enumerate(question.texts))


def silent(panel: Iterable[judges.Judge], question: Question, error: str) -> Answer:
    """The answer about an image that cannot be judged."""
    import numpy as np

    scores = {
        judge.name: np.full((len(texts_for(judge, question)), len(judge.facts.categories) or 1), np.nan)
        for judge in panel
        if hasattr(judge, "score")
    }
    replies = {judge.name: np.full(len(question.questions), np.nan) for judge in panel if hasattr(judge, "answer")}
    return Answer(scores, replies, {}, error)


def held_to(judge: judges.Judge, said: Any, count: int, columns: int = 0) -> tuple[Values, list[str | None]]:
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
