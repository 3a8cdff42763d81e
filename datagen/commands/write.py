"""The prompts of a recipe without any image: what was written, or one call to see how an LLM answers."""

from __future__ import annotations

import tempfile
from pathlib import Path

from datagen import store
from datagen.errors import RecipeError
from datagen.llm import LEDGER, LlmOptions
from datagen.llm.access import connect
from datagen.pipeline.plan import Summary
from datagen.recipe import Recipe


def closing(summary: Summary, out: Path) -> list[str]:
    """The lines that `datagen write` ends with."""
    where = store.Run(out).files.name(out / "tables" / "prompts")
    done = f"{summary.rows('prompts')} prompts of {summary.rows('principles')} principles in {where}"
    said = "" if summary.made else "nothing to do: "
    return [f"{said}{done}; datagen run with the same --out draws them", *summary.losses()]


def first_call(recipe: Recipe, profile_name: str) -> list[str]:
    """Make the first call of a run, and show what was asked, what came and what it cost; the reply stays in the cache.

    RecipeError if the profile's writer asks no LLM; EndpointError as the run itself would raise.
    """
    from datagen.llm.accounts.money import totals
    from datagen.writers.rehearsal import plan_calls

    calls = plan_calls(recipe, recipe.profile(profile_name))
    if not calls:
        raise RecipeError(
            f"the writer {recipe.writer(recipe.profile(profile_name))} asks no LLM: --dry-run has no call"
        )
    request, said = calls[0].request, list[str]()
    with tempfile.TemporaryDirectory() as folder:
        options = LlmOptions(Path(folder), say=said.append)
        with connect(recipe.llm.model, options, recipe.llm.parameters) as ask:
            (reply,) = ask([request])
        spent = totals(Path(folder) / LEDGER).values()
    cost = sum(part.cost for part in spent)
    unsure = sum(part.at_most for part in spent)
    lines = [line for message in request.messages for line in (f"--- {message.role}", message.text)]
    lines += [f"--- {reply.model}", reply.text or "(no text)"]
    lines += [f"--- {reply.error or 'the reply can be used'}", *said]
    used = "from the cache, at no cost" if reply.cached else (
        f"{reply.usage.input_tokens:,} tokens in, {reply.usage.output_tokens:,} out; ${cost:,.4f} with the question "
        "whether the server keeps to a schema"
    )  # fmt: skip
    more = f", and up to ${unsure:,.4f} that no answer tells" if unsure else ""
    return [*lines, f"1 of {len(calls):,} calls of this recipe: {used}{more}"]
