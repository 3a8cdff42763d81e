"""Does a reply mean what was asked? It is held against its scene, its prompt, its principle and our instructions.

`of_row` judges a row before anything is drawn from it, `of_text` a text that stands alone. Each gives a reason that
begins with MEANING and does not repeat the text, or None. Reasons are counted, and `status` shows their share.
"""

from __future__ import annotations

from collections.abc import Mapping

from datagen.records import Prompt
from datagen.writers.briefs import Brief
from datagen.writers.meaning import added, sides, talk
from datagen.writers.meaning.words import alike, share

MEANING = "meaning: "  # begins every reason
ECHOED, ALIKE = f"{MEANING}{talk.ECHO}", f"{MEANING}{sides.ALIKE}"
KEPT_OF_SCENE = 0.25  # least share of a scene's words that its description keeps
KEPT_OF_PROMPT = 0.5  # … of a prompt's words that its wordings keep, as few words are changed
TOO_MUCH = 0.8  # share of a prompt's words from which a negative prompt is the prompt over again
WEAK = 0.2  # share of replies that fail from which another model is advised
SENTENCE = 5  # words from which a negative prompt can be a sentence


def of_text(text: str) -> str | None:
    """Why a text by an LLM describes nothing, or None."""
    return _named(talk.problem(text))


def of_row(brief: Brief, row: Prompt, overs: sides.Overs, *, worded: bool) -> str | None:
    """Why a row does not mean what its brief asks, or None.

    `worded`: an LLM wrote the two sides as well, not the prompt alone. `overs`: subject → the group that models draw
    for it, where a grammar knows.
    """
    texts, negatives = row.texts
    written = [*texts, *filter(None, negatives)] if worded else [row.prompt]
    talks = next(filter(None, map(talk.problem, written)), None)
    return _named(talks or _of_prompt(brief, row) or (_of_wordings(brief, row, overs) if worded else None))


def share_failed(drops: Mapping[str, int], kept: int) -> float:
    """The share of replies that did not mean what was asked; `drops` by reason, `kept` how many became rows."""
    failed = sum(count for reason, count in drops.items() if reason.startswith(MEANING))
    judged = sum(count for reason, count in drops.items() if not reason.startswith("scene: ")) + kept
    return failed / judged if judged else 0.0


def told(drops: Mapping[str, int], kept: int) -> str | None:
    """That share in words with what to do; None if every reply meant what was asked."""
    share_of_all = share_failed(drops, kept)
    if not share_of_all:
        return None
    advice = "; take a stronger model" if share_of_all > WEAK else ""
    return f"{share_of_all:.0%} of the replies did not mean what was asked and were dropped{advice}"


def _of_prompt(brief: Brief, row: Prompt) -> str | None:
    return "the prompt is not about its scene" if share(brief.scene, row.prompt) < KEPT_OF_SCENE else None


def _of_wordings(brief: Brief, row: Prompt, overs: sides.Overs) -> str | None:
    """Why the two wordings are not those of the prompt, or not on their sides."""
    asked = brief.role == "asked"
    (prompt, chosen, rejected), negatives = row.texts
    for text in (chosen, rejected):
        if max(share(prompt, text), share(brief.scene, text) if asked else 0.0) < KEPT_OF_PROMPT:
            return "a wording is not one of its prompt"
    if alike(chosen, rejected):
        return sides.ALIKE
    moved = [chosen if asked else rejected]
    if brief.principle.kind != "avoid" and brief.role != "control":
        moved.append(chosen)  # to avoid something a prompt may stay as it is
    if any(alike(prompt, text) for text in moved):
        return "a wording adds nothing to its prompt"
    if any(len(text.split()) >= SENTENCE and share(prompt, text) >= TOO_MUCH for text in negatives):
        return "a negative prompt is the prompt"
    if reason := added.problem(brief.principles, brief.scene, row, lambda text: sides.told(brief.principles, text)):
        return reason
    subject = brief.scene if brief.role == "control" else f"{brief.scene}, {prompt}"
    return sides.problem(brief.principles, brief.role, sides.Sides(chosen, rejected, *negatives), subject, overs)


def _named(reason: str | None) -> str | None:
    return reason and f"{MEANING}{reason}"
