"""One person's way through a sample: which pair is next, what is shown of it, what an answer does."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping
from typing import Any

from datagen.errors import InputError
from datagen.labels.people import BAD, CHOSEN, REJECTED, TIE
from datagen.review.journal import SKIP, Journal, Planned
from datagen.review.pictures import Pictures, Shown

LEFT, RIGHT = "left", "right"
SAID = {LEFT, RIGHT, TIE, BAD, SKIP}


@dataclasses.dataclass(frozen=True)
class Asked:
    """What is told of a prompt beside its pictures; of `harmful` ones, both are covered until asked for."""

    prompt: str
    principle: str
    harmful: bool


class Session:
    """A journal, the texts of its pairs and their pictures. Not for several threads at once."""

    def __init__(self, journal: Journal, texts: Mapping[str, Asked], pictures: Pictures) -> None:
        self.journal, self._texts, self._pictures = journal, texts, pictures
        self.pairs = {pair.pair_id: pair for pair in journal.planned if pair.prompt_id in texts}
        self.lost = len(journal.planned) - len(self.pairs)  # of a sample: no longer in the run

    def left(self) -> list[Planned]:
        """The pairs that are still to be answered, in order."""
        return [pair for name, pair in self.pairs.items() if name not in self.journal.answers]

    def state(self) -> dict[str, Any]:
        """What the page shows now: how far one is, and the next pair, of which nothing tells which image is which."""
        left, answers = self.left(), self.journal.answers
        said = collections.Counter(answers[name] for name in self.pairs if name in answers)
        return {
            "total": len(self.pairs),
            "done": len(self.pairs) - len(left),
            "skipped": said[SKIP],
            "decisive": said[CHOSEN] + said[REJECTED],
            "lost": self.lost,
            "undo": bool(answers),
            "pair": self._told(left[0]) if left else None,
            "then": left[1].pair_id if len(left) > 1 else None,
        }

    def _told(self, pair: Planned) -> dict[str, Any]:
        texts = self._texts[pair.prompt_id]
        return {
            "id": pair.pair_id,
            **dataclasses.asdict(texts),
            "errors": [picture.error for picture in self.pictures(pair)],
        }

    def pictures(self, pair: Planned) -> tuple[Shown, Shown]:
        """Left and right."""
        chosen, rejected = self._pictures.both(pair)
        return (rejected, chosen) if pair.turned else (chosen, rejected)

    def answer(self, pair_id: str, said: str) -> None:
        """Keep an answer in the page's words: SAID. InputError if it cannot be one; the same one twice is one."""
        pair = self.pairs.get(pair_id)
        if pair is None:
            raise InputError(f"{pair_id!r:.80} is no pair of this review: reload the page")
        if said not in SAID:
            raise InputError(f"{said!r:.80} is no answer: give {', '.join(sorted(SAID))}")
        answer = {LEFT: REJECTED, RIGHT: CHOSEN} if pair.turned else {LEFT: CHOSEN, RIGHT: REJECTED}
        meant = answer.get(said, said)
        before = self.journal.answers.get(pair_id)
        if before == meant:
            return
        if before is not None:
            raise InputError("this pair was answered already, in another window: undo takes that answer back")
        if meant != SKIP and any(picture.error for picture in self.pictures(pair)):
            raise InputError("an image of this pair cannot be read: it can only be skipped")
        self.journal.answer(pair, meant)

    def undo(self) -> None:
        """Take back the last answer, if there is one; its pair is asked again next."""
        self.journal.undo()
