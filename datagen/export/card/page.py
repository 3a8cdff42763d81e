"""The text of the card. It holds no times, so that equal runs give equal cards."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from datagen import judges
from datagen.export import Finished
from datagen.export.card import columns, trust, words
from datagen.export.card.facts import BANDS, Facts
from datagen.export.parts.readme import cell
from datagen.labels import told
from datagen.recipe import FOUND, Profile

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def render(finished: Finished, facts: Facts) -> str:
    """The card: YAML for the hub, then text for people."""
    return f"---\n{_yaml(finished, facts)}---\n\n{_text(finished, facts)}"


def _title(finished: Finished) -> str:
    named = finished.recipe.name
    return f"CONTROL ARM, {finished.control} labels: {named}" if finished.control else named


def _yaml(finished: Finished, facts: Facts) -> str:
    recipe, profile = finished.recipe, finished.profile
    rows = facts.splits.total()
    size = next((name for limit, name in SIZES if rows < limit), "n>1M")
    tags = ["preference", "image-preference", "synthetic", "dpo", "datagen", recipe.name]
    tags += ["control-arm"] * bool(finished.control)
    if profile.model != "embedded" and any(kind == "avoid" for _, _, kind in facts.principles):
        tags.append("not-for-all-audiences")
    lines = [
        f"pretty_name: {json.dumps(_title(finished))}",
        f"license: {json.dumps(recipe.license_of(profile))}",
        "language:\n- en",
        "annotations_creators:\n- machine-generated",
        "language_creators:\n- machine-generated",
        *(["source_datasets:\n- original"] if profile.model != FOUND else []),
        "task_categories:\n- text-to-image",
        "tags:",
        *(f"- {json.dumps(tag)}" for tag in tags),
        f"size_categories:\n- {size}",
        "dataset_info:\n  features:",
    ]
    for field in columns.schema():
        kind = "image" if pa.types.is_struct(field.type) else columns.dtype(field.type)
        lines.append(f"  - name: {field.name}\n    dtype: {kind}")
    lines.append("  splits:")
    for split in facts.written():
        lines.append(
            f"  - name: {split}\n    num_examples: {facts.splits[split]}\n    num_bytes: {facts.sizes[split]}"
        )
    lines.append("configs:\n- config_name: default\n  data_files:")
    lines += [f"  - split: {split}\n    path: data/{split}-*" for split in facts.written()]
    return "\n".join(lines) + "\n"


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} × {cell(what)}" for what, count in counts.items()) or "none"


def _paid(cost: float) -> str:
    return f"; the calls that wrote them cost ${cost:.2f}" if cost else "; nothing was paid for them"


def _licences(profile: Profile) -> str:
    """Of what the labels were made with; a judge of another package may say nothing of it."""
    found = []
    for judge in profile.judges:
        try:
            facts = getattr(judges.JUDGES.module(judge.name).Judge, "facts", None)
        except Exception:
            facts = None
        found.append(f"{judge.name} {(facts and facts.weights_license) or 'none stated'}")
    return cell(", ".join(found)) or "no judge"


def _unmarked(facts: Facts) -> str:
    count = facts.unmarked.total()
    return f" {count:,} pictures are of a kind that cannot carry it." if count else ""


def _how_sure(facts: Facts) -> list[str]:
    """How the probabilities of the labels spread, and what they add up to."""
    count = facts.splits.total()
    if not count:
        return []
    ends = [*BANDS, 1.0]
    rows = [
        f"| {low:g} to {high:g} | {facts.bands[low]} |"
        for low, high in zip(ends, ends[1:], strict=False)
        if facts.bands[low]
    ]
    below = [f"| below {BANDS[0]:g} | {facts.bands[0.0]} |"] if facts.bands[0.0] else []
    said = f"By their own account {100 * facts.likely / count:.1f} % of the labels are right."
    return ["\n## How sure the labels are\n", said, "", "| probability | pairs |\n|---|---|", *below, *rows]


def _sampling(profile: Profile, facts: Facts) -> str:
    """How images were drawn, and what stood for an empty negative prompt."""
    how = (
        f"{profile.scheduler}, {profile.steps} steps, guidance {profile.guidance:g}, {profile.width}×{profile.height}"
    )
    negative = f", an empty negative prompt is {' or '.join(sorted(facts.empty_negatives))}"
    return how + (negative if facts.empty_negatives else "")


def _controls(facts: Facts) -> dict[str, str]:
    count = facts.negative_controls
    return {"negative controls": f"{count} pairs {words.NEGATIVE}"} if count else {}


def _text(finished: Finished, facts: Facts) -> str:
    recipe, profile = finished.recipe, finished.profile
    principles = [
        f"| {cell(statement)} | {cell(category)} | {kind} | {count} |"
        for (statement, category, kind), count in sorted(facts.principles.items())
    ]
    made = {
        "recipe": f"`{recipe.name}`, seed {recipe.seed}, pairing `{recipe.pairing}`",
        **(
            {"images": "found, not drawn here: what drew them is not known, and each has its own file unchanged"}
            if profile.model == FOUND
            else {
                "generator": ", ".join(sorted(facts.generators)) or profile.model,
                "licence of the images": f"`{cell(recipe.license_of(profile))}`, which follows from the generator's",
                "sampling": _sampling(profile, facts),
            }
        ),
        "prompts": _counted(dict(sorted(facts.authors.items()))) + _paid(facts.cost),
        **_controls(facts),
        "judges": ", ".join(sorted(facts.judges)) or ", ".join(judge.name for judge in profile.judges),
        "licences of the judges' weights": _licences(profile),
        "kept": f"pairs of probability {recipe.labels.min_probability:g} and more, "
        f"match {recipe.labels.min_match:g} and more",
        "dropped": _counted(finished.drops),
        "remarks on images": _counted(finished.remarks),
        "roles of prompts": _counted(dict(sorted(facts.roles.items()))),
        "marked": finished.mark.says + _unmarked(facts),
    }
    return "\n".join(
        [
            f"# {_title(finished)}\n",
            *([f"**{words.CONTROL[finished.control]} {words.KEPT}**\n"] if finished.control else []),
            *([f"{cell(recipe.description)}\n"] if recipe.description else []),
            f"{words.WHAT}\n",
            f"{facts.splits['train']} pairs to train on, {facts.splits['test']} to test on; no prompt is in both.\n",
            f"{words.LOADING}\n",
            "## How it was made\n",
            *(f"- {what}: {how}" for what, how in made.items()),
            *(
                [f"\n## Pools\n\n{words.POOLS.format(**recipe.images.model_dump())}"]
                if recipe.pairing == "pool"
                else []
            ),
            *_learnt(finished.learnt, words.LABELS_OF_LISTS if recipe.pairing == "list" else words.LABELS),
            *_trusted(finished),
            *_how_sure(facts),
            "\n## Principles\n",
            "| principle | category | kind | pairs |\n|---|---|---|---|",
            *principles,
            "\n## Columns\n",
            "| column | what it holds |\n|---|---|",
            *(f"| `{name}` | {columns.COLUMNS[name]} |" for name in columns.schema().names),
            *(["\n## How to draw a row again\n", words.REDRAWING] if profile.model != FOUND else []),
            "\n## Limits\n",
            words.LIMITS,
            "\n## Safety\n",
            words.SAFETY,
            "",
        ]
    )


def _trusted(finished: Finished) -> list[str]:
    """How far judges agree, and what else could tell a label."""
    found = trust.lines(finished)
    return ["\n## Agreement and shortcuts\n", *(f"- {cell(line)}." for line in found)] if found else []


def _learnt(facts: dict[str, Any], how: str) -> list[str]:
    """How far the labels can be trusted, as the run itself shows it; `how` they were learnt."""
    found = told.lines(facts)
    return ["\n## Labels\n", how, "", *(f"- {cell(line)}" for line in found)] if found else []
