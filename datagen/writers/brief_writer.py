"""The writer that works through briefs: each gets a scene and is worded, again and again until a row is accepted.

A row whose reply failed stays, with its error, for the next run. A row that a filter drops is counted, and its place
gets another scene. Rows are a function of the replies: a run that was killed asks the same again, out of the cache.
"""

from __future__ import annotations

import collections
import dataclasses
import heapq
import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from datagen.errors import RecipeError
from datagen.llm.messages import Ask
from datagen.recipe import Profile, Recipe
from datagen.records import Principle, Prompt, Written, in_words
from datagen.text import token_budget
from datagen.text.aside import Rows
from datagen.writers import coverage, existing, meaning, principles, templates, wordings
from datagen.writers.acceptance import AcceptanceFilter, Meant, assign_splits
from datagen.writers.briefs import Brief, brief_all
from datagen.writers.drafts import ByLlm, Draft, of_existing
from datagen.writers.scenes import Existing, Invented, Source
from datagen.writers.taxonomy import grammar

PATIENCE = 40  # rows at least, of which HARDLY became none, after which a source counts as exhausted
HARDLY = 0.05
AT_ONCE = 1000  # briefs that are written together where nobody is asked
Dropped = dict[str, collections.Counter[str]]  # principle id → reason → how many
Filled = tuple[int, Prompt]  # the number of a brief, and its row


class BriefWriter:
    """Works through the briefs of a run with an LLM's texts or with existing prompts."""

    def __init__(self, recipe: Recipe, profile: Profile, ask: Ask | None, say: Callable[[str], None]) -> None:
        self.recipe, self.profile, self._say = recipe, profile, say
        self._writer = recipe.writer(profile)
        self._ask = ask
        self._templates = templates.load(sorted(templates.VARIABLES)) if ask else {}

    def principles(self) -> Written[Principle]:
        """The taxonomy's principles, then as many as the recipe wants of those that the LLM adds."""
        chosen = principles.selected(self.profile)
        if self._ask is None or not self.recipe.llm.widen:
            return Written(chosen)
        new = principles.propose(self.recipe, self.profile, self._ask, self._templates)
        if len(new.rows) < self.recipe.llm.widen:
            self._say(f"principles: the LLM gave {len(new.rows)} new ones, {self.recipe.llm.widen} were asked for")
        return Written([*chosen, *new.rows], new.drops)

    def prompts(self, principles: list[Principle]) -> Written[Prompt]:
        """All rows of the run in the order of their briefs."""
        filled, dropped = self._fill(self._briefs(principles), ())
        wanted, drops = self.recipe.prompts.count, _total(dropped)
        if len(filled) < wanted:
            raise RecipeError(self._exhausted(len(filled), wanted, drops))
        rows = Rows(row for _, row in filled)
        for line in coverage.shortages(principles, rows, wanted, dropped):
            self._say(f"prompts: {line}; the same command retries")
        if said := meaning.told(drops, sum(row.error is None for row in rows)):
            self._say(f"prompts: {said}")
        return Written(Rows(assign_splits(rows, (), self.recipe.prompts.test_share, self.recipe.seed)), drops)

    def retry(self, principles: list[Principle], rows: list[Prompt]) -> Written[Prompt]:
        """The rows, the failed ones retried; what cannot be written now stays as it was."""
        briefs = [
            dataclasses.replace(brief, scene=row.scene, attempt=row.attempt + 1)
            for brief, row in zip(self._briefs(principles), rows, strict=True)
            if row.error is not None
        ]
        filled, dropped = self._fill(briefs, rows)
        # A retry in vain counts as well, so that the next one asks something new.
        retried = {brief.number: dataclasses.replace(rows[brief.number], attempt=brief.attempt) for brief in briefs}
        retried |= dict(filled)
        after = [retried.get(number, row) for number, row in enumerate(rows)]
        after = list(assign_splits(after, rows, self.recipe.prompts.test_share, self.recipe.seed))
        return Written(after, _total(dropped))

    def _briefs(self, principles: list[Principle]) -> Iterator[Brief]:
        return brief_all(self.recipe, principles, llm_words=self._writer == "llm")

    def _fill(self, briefs: Iterable[Brief], before: Sequence[Prompt]) -> tuple[Collection[Filled], Dropped]:
        """Rows with the numbers of their briefs, in order, and drops. Those for which no scene is left are missing."""
        todo = Rows(briefs)
        source, draft = self._means(max((brief.attempt for brief in todo), default=0), before)
        fit = token_budget.Fit(self.profile.model, self.profile.revision)
        accepted = AcceptanceFilter(fit, before, self._meant(), neutral_only=self._writer != "file")
        rounds: list[Rows[Filled]] = []
        dropped: Dropped = collections.defaultdict(collections.Counter)
        patience = _Patience()
        while len(todo):
            drafts = Rows(drafted for block in self._blocks(todo) for drafted in self._drafts(block, source, draft))
            found = Rows((brief, row) for brief, row in drafts if row is not None)
            reasons, rows, left = accepted.accept(found), Rows[Filled](), Rows[Brief]()
            for brief, row in drafts:
                if row is None:
                    left.add(brief)
                elif (reason := next(reasons)) is None:
                    rows.add((brief.number, row))
                else:
                    dropped[brief.principle.principle_id][reason] += 1
                    left.add(dataclasses.replace(brief, scene=""))
            rounds.append(rows)
            todo = left
            if not len(found) or patience.ends(len(found), len(rows)):
                break
        failed = ((brief, source.trouble(brief)) for brief in todo)
        rounds.append(Rows((brief.number, brief.failed(error, self._author())) for brief, error in failed if error))
        dropped[""] = source.drops  # of scenes, before they were given to a brief
        return Rows(heapq.merge(*rounds, key=lambda filled: filled[0])), dropped

    def _blocks(self, briefs: Iterable[Brief]) -> Iterator[list[Brief]]:
        """Briefs that are worked through at a time: all where an LLM is asked, which answers many side by side."""
        briefs = iter(briefs)
        while block := list(itertools.islice(briefs, None if self._ask else AT_ONCE)):
            yield block

    def _drafts(self, block: list[Brief], source: Source, draft: Draft) -> Iterator[tuple[Brief, Prompt | None]]:
        """Each brief, with its scene and its row where one is left for it."""
        if self._writer in ("modifier", "file"):
            wordings.check([principle for brief in block for principle in brief.principles], self._writer)
        given = [brief for brief in block if brief.scene] + source.supply(
            [brief for brief in block if not brief.scene]
        )
        given.sort(key=lambda brief: brief.number)
        rows = {brief.number: (brief, row) for brief, row in zip(given, draft(given), strict=True)}
        for brief in block:
            yield rows.get(brief.number, (brief, None))

    def _meant(self) -> Meant:
        """What an LLM wrote is held against what was asked; prompts that exist already are as they are."""
        if self._ask is None:
            return lambda brief, row: None
        overs = grammar(self.profile.grammar).overs()
        return lambda brief, row: meaning.of_row(brief, row, overs, worded=self._writer == "llm")

    def _means(self, attempt: int, before: Sequence[Prompt]) -> tuple[Source, Draft]:
        """Where scenes come from, and how they are worded."""
        draft: Draft = of_existing(self.recipe)
        if self._ask is not None:
            draft = ByLlm(self.recipe, self._ask, self._templates, modifier=self._writer == "modifier")
        if self.recipe.prompts.source:
            used = {row.scene for row in before}
            known = existing.prompts(self.recipe.prompts.source, self.recipe.prompts.column, self.recipe.seed)
            return Existing((text for text in known.texts if text not in used), known.drops), draft
        assert self._ask is not None  # the recipe has refused a writer without an LLM and without a source
        earlier: dict[str, list[str]] = {}
        for row in before:
            if row.scene:
                earlier.setdefault(row.principle_id, []).append(row.scene)
        return Invented(self.recipe, self._ask, self._templates, earlier, attempt), draft

    def _author(self) -> str:
        return self.recipe.llm.model or "llm"

    def _exhausted(self, found: int, wanted: int, drops: dict[str, int]) -> str:
        """What to say when there are too few."""
        who = f"the source {self.recipe.prompts.source}" if self.recipe.prompts.source else "the LLM"
        gives = f"only {found} distinct prompts, {wanted} were asked for" if found else "no prompt that can be used"
        fewer = f"set prompts.count to {found} or less, or " if found else ""
        if meaning.share_failed(drops, found) > 0.5:
            advice = "take a stronger model: most of its replies do not say what was asked"
        elif self.recipe.prompts.source:
            advice = "give a longer source" if found else "give another source, or another prompts.column"
        else:
            advice = (
                "take another model, a higher llm.temperature or more llm.angles; replies are kept, not bought again"
            )
        return f"{who} gives {gives} (dropped: {_worded(drops) or 'none'}): {fewer}{advice}"


def _worded(drops: Mapping[str, int]) -> str:
    return in_words(dict(sorted(drops.items(), key=lambda item: -item[1])))


def _total(dropped: Dropped) -> dict[str, int]:
    """Drops by reason, those of all principles together."""
    return dict(sum(dropped.values(), collections.Counter()))


class _Patience:
    """Notices that hardly any row is kept: of the last rounds, as many as make PATIENCE rows."""

    def __init__(self) -> None:
        self._rounds: collections.deque[tuple[int, int]] = collections.deque()

    def ends(self, tried: int, kept: int) -> bool:
        """Note a round; True if there is no point in continuing."""
        self._rounds.append((tried, kept))
        while sum(tried for tried, _ in self._rounds) - self._rounds[0][0] >= PATIENCE:
            self._rounds.popleft()
        total = sum(tried for tried, _ in self._rounds)
        return total >= PATIENCE and sum(kept for _, kept in self._rounds) < HARDLY * total
