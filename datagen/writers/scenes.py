"""Where scenes come from: an LLM that invents them, or existing prompts; one at a time, none twice.

Scenes are asked for in chains, each with its own settings and reminded of what it gave before, so that chains run side
by side. A request depends on its chain alone, never on how many prompts are wanted: a longer run begins with the same
calls as a shorter one.
"""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from datagen import safety
from datagen.llm.messages import Ask, Message, Request
from datagen.recipe import Recipe
from datagen.records import Principle
from datagen.text import quality
from datagen.writers import meaning
from datagen.writers.briefs import Brief
from datagen.writers.meaning.words import share
from datagen.writers.replies import Scenes, scenes_of
from datagen.writers.templates import SYSTEM, Template
from datagen.writers.wordings import describe

SETTINGS = 4  # settings per chain
REMINDED = 60  # a chain is reminded of the last this many scenes that it gave
TRIES = 3  # calls in a row that fail, or give hardly anything new, after which a chain counts as exhausted
HARDLY = 0.1


class Source(Protocol):
    """Gives scenes to briefs."""

    drops: collections.Counter[str]

    def supply(self, briefs: Sequence[Brief]) -> list[Brief]:
        """The briefs that have a scene now, in order; those that are missing can never have one."""

    def trouble(self, brief: Brief) -> str | None:
        """The content error for which a brief got no scene; None if there simply are no more."""


class Existing:
    """Prompts that exist already, each for one brief; `drops` are those that the source itself left out."""

    def __init__(self, texts: Iterable[str], drops: Mapping[str, int]) -> None:
        self.drops: collections.Counter[str] = collections.Counter(drops)
        self._texts: Iterator[str] = iter(texts)

    def supply(self, briefs: Sequence[Brief]) -> list[Brief]:
        """The next texts that can be read, to the briefs in order."""
        return [dataclasses.replace(brief, scene=text) for brief, text in zip(briefs, self._sound(), strict=False)]

    def _sound(self) -> Iterator[str]:
        for text in self._texts:
            if reason := problem(text):
                self.drops[reason] += 1
            else:
                yield quality.clean(text)

    def trouble(self, brief: Brief) -> str | None:
        """Nothing fails here."""
        return None


@dataclasses.dataclass
class _Chain:
    """One conversation about a principle's scenes."""

    principle: Principle
    settings: list[str]
    given: list[str]
    sample: int
    tries: int = 0  # in a row, in vain
    error: str | None = None


class Invented:
    """Scenes by an LLM. `before`: scenes by principle id that earlier runs used, which must not be repeated."""

    def __init__(
        self, recipe: Recipe, ask: Ask, templates: dict[str, Template], before: dict[str, list[str]], sample: int
    ) -> None:
        self.drops: collections.Counter[str] = collections.Counter()
        self._recipe, self._ask, self._templates = recipe, ask, templates
        self._before, self._sample = before, sample
        self._seen = {_normal(scene) for scenes in before.values() for scene in scenes}
        self._stock: dict[str, collections.deque[str]] = collections.defaultdict(collections.deque)
        self._chains: dict[str, collections.deque[_Chain]] = {}
        self._vain = 0  # rounds in a row in which no chain gave anything to speak of

    def supply(self, briefs: Sequence[Brief]) -> list[Brief]:
        """The briefs with scenes of their first principle; asks for as many more scenes as are missing."""
        wanted = collections.Counter(brief.principle.principle_id for brief in briefs)
        principles = {brief.principle.principle_id: brief.principle for brief in briefs}
        while calls := [chain for name in wanted for chain in self._short(principles[name], wanted[name])]:
            replies = self._ask([self._request(chain) for chain in calls])
            for chain, reply in zip(calls, replies, strict=True):
                if reply.left_out:
                    self.drops["scene: not as asked for"] += reply.left_out
                self._take(chain, reply.value.scenes if isinstance(reply.value, Scenes) else [], reply.error)
            self._vain = self._vain + 1 if all(chain.tries for chain in calls) else 0
        given = []
        for brief in briefs:
            if stock := self._stock[brief.principle.principle_id]:
                given.append(dataclasses.replace(brief, scene=stock.popleft()))
        return given

    def trouble(self, brief: Brief) -> str | None:
        """The last error of the principle's chains, if every chain that was tried in vain ended with one."""
        tried = [chain for chain in self._chains.get(brief.principle.principle_id, ()) if chain.tries]
        return tried[-1].error if all(chain.error for chain in tried) and tried else None

    def _short(self, principle: Principle, wanted: int) -> list[_Chain]:
        """The chains to ask so that a principle has its scenes; none if it has them, or if all are exhausted."""
        name, llm = principle.principle_id, self._recipe.llm
        if name not in self._chains:
            count = math.ceil(len(llm.angles) / SETTINGS)
            # Every n-th setting: neighbours in the list are alike.
            self._chains[name] = collections.deque(
                _Chain(principle, list(llm.angles[k::count]), list(self._before.get(name, [])), self._sample)
                for k in range(count)
            )
        calls = math.ceil((wanted - len(self._stock[name])) / llm.scenes)
        if calls < 1 or self._vain == TRIES:
            return []
        chosen = [chain for chain in self._chains[name] if chain.tries < TRIES][:calls]
        for chain in chosen:  # those asked go to the end
            self._chains[name].remove(chain)
            self._chains[name].append(chain)
        return chosen

    def _request(self, chain: _Chain) -> Request:
        text = self._templates["scenes"].fill(
            count=self._recipe.llm.scenes,
            principle=describe([chain.principle]),
            settings="\n".join(f"- {setting}" for setting in chain.settings),
            had="\n".join(f"- {scene}" for scene in chain.given[-REMINDED:]) or "none yet",
        )
        return Request(
            (Message("system", self._templates[SYSTEM].text), Message("user", text)),
            scenes_of(self._recipe.llm.scenes), "prompts", chain.sample,
            self._recipe.llm.temperature, self._recipe.llm.max_tokens,
        )  # fmt: skip

    def _take(self, chain: _Chain, scenes: list[str], error: str | None) -> None:
        fresh = []
        for scene in scenes:
            if reason := problem(scene) or _meant(scene, chain):
                self.drops[f"scene: {reason}"] += 1
            elif (text := quality.clean(scene)) and _normal(text) not in self._seen:
                self._seen.add(_normal(text))
                fresh.append(text)
            else:
                self.drops["scene: had before"] += 1
        self._stock[chain.principle.principle_id].extend(fresh)
        chain.given += fresh
        chain.error = error
        if error or len(fresh) < HARDLY * len(scenes):
            chain.tries, chain.sample = chain.tries + 1, chain.sample + 1
        else:
            chain.tries = 0


def problem(text: str) -> str | None:
    """Why a text cannot be a scene, or None."""
    return safety.refusal(text) or quality.check(quality.clean(text))


def _meant(text: str, chain: _Chain) -> str | None:
    """Why a text is no scene of what was asked for, or None."""
    told = [*chain.settings, describe([chain.principle])]
    if any(share(text, line) == 1 for line in told):
        return meaning.ECHOED
    return meaning.of_text(text)


def _normal(text: str) -> str:
    return " ".join("".join(c if c.isalnum() else " " for c in text.lower()).split())
