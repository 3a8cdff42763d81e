"""The principles of a run: those of a taxonomy, and those that an LLM adds to it.

What an LLM proposes is data: it becomes a principle only if its wordings are plain text that says something new, and
then it carries the model's id, the request's id and the hash of what was asked.
"""

from __future__ import annotations

import collections
import json
from collections.abc import Sequence
from typing import Any

from datagen import safety
from datagen.errors import RecipeError, nearest
from datagen.llm.messages import Ask, Message, Reply, Request
from datagen.recipe import Profile, Recipe
from datagen.records import Principle, Written, content_id
from datagen.text import quality
from datagen.writers import meaning, taxonomy
from datagen.writers.briefs import taxonomy_id
from datagen.writers.meaning.words import alike
from datagen.writers.replies import NewPrinciple, Widened
from datagen.writers.templates import SYSTEM, Template

A_CALL = 5  # principles asked for at once: a reply must fit a small model too
TRIES = 4  # calls in a row without a new one, after which the LLM counts as exhausted


def selected(profile: Profile) -> list[Principle]:
    """The principles of the profile's taxonomy, or those of them it names."""
    known = {taxonomy_id(principle): principle for principle in taxonomy.taxonomy(profile.taxonomy)}
    for name in profile.principles:
        if name not in known:
            raise RecipeError(f"taxonomy {profile.taxonomy} has no principle {name!r}; {nearest(name, known)}")
    return [known[name] for name in profile.principles or known]


def propose(recipe: Recipe, profile: Profile, ask: Ask, templates: dict[str, Template]) -> Written[Principle]:
    """Up to `llm.widen` principles that the taxonomy lacks, in the order they came; fewer if the LLM has no more."""
    known, drops = taxonomy.taxonomy(profile.taxonomy), collections.Counter[str]()
    kinds = sorted({principle.kind for principle in selected(profile)} & {"avoid", "prefer"})
    new: list[Principle] = []
    sample = barren = 0
    while kinds and len(new) < recipe.llm.widen and barren < TRIES:
        (reply,) = ask([_request(recipe, [*known, *new], kinds, templates, sample)])
        sample, barren = sample + 1, barren + 1
        if not isinstance(reply.value, Widened):
            drops[(reply.error or "unreadable").partition(":")[0]] += 1
            continue
        if reply.left_out:
            drops["not as asked for"] += reply.left_out
        for proposed in reply.value.principles[: recipe.llm.widen - len(new)]:
            row = _principle(proposed, profile, reply, templates["principles"].digest)
            if reason := _problem(proposed, kinds) or taxonomy.novel(row, [*known, *new]):
                drops[reason.partition(" of ")[0]] += 1  # the one it repeats is left out, to count them together
            else:
                new.append(row)
                barren = 0
    return Written(new, dict(drops))


def _request(
    recipe: Recipe, known: Sequence[Principle], kinds: list[str], templates: dict[str, Template], sample: int
) -> Request:
    lines = [
        f"{p.kind} | {p.category} | {p.statement} | {p.aligned.replace('{prompt}', '…')} | "
        f"{p.violating.replace('{prompt}', '…')}"
        for p in known
    ]
    text = templates["principles"].fill(count=A_CALL, kinds=" or ".join(kinds), taxonomy="\n".join(lines))
    return Request(
        (Message("system", templates[SYSTEM].text), Message("user", text)), Widened, "principles", sample,
        recipe.llm.temperature, recipe.llm.max_tokens,
    )  # fmt: skip


def _problem(proposed: NewPrinciple, kinds: list[str]) -> str | None:
    """Why a proposal cannot be used as it is, or None."""
    if proposed.kind not in kinds:
        return "another kind"
    texts = proposed.model_dump(exclude={"kind"}).values()
    if reason := safety.refusal_of_row(texts) or quality.check_all(texts):
        return reason  # a brace, which is markup, would make a wording a template of the LLM's own
    for text in filter(None, texts):
        if reason := meaning.of_text(text.removesuffix("considered inappropriate")):
            return reason
    return meaning.ALIKE if alike(proposed.aligned, proposed.violating) else None


def _principle(proposed: NewPrinciple, profile: Profile, reply: Reply, template: str) -> Principle:
    fields: dict[str, Any] = {name: " ".join(text.split()) for name, text in proposed.model_dump().items()}
    fields |= {side: "{prompt}, " + fields[side].lstrip(" ,") for side in ("aligned", "violating")}
    slug = "-".join(
        "".join(c if c.isascii() and c.isalnum() else " " for c in fields["statement"].lower()).split()[:4]
    )
    return Principle(
        principle_id=f"{slug or 'new'}-{content_id(fields, json.dumps({}))[:8]}", author=reply.model,
        source=f"written by an LLM beside taxonomy {profile.taxonomy}", template=template,
        request_id=reply.request_id, **fields,
    )  # fmt: skip
