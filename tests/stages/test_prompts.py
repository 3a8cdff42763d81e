"""The stage of prompts stores what the writer wrote, unless the safety check refuses it."""

import pytest

from datagen import recipe as recipes
from datagen.errors import RecipeError
from datagen.records import Principle, Prompt, Written
from datagen.stages import Context, Shard, principles, prompts
from datagen.writers.offline import OfflineWriter


def context() -> Context:
    recipe = recipes.load("pick-style", ["prompts.count=8"])
    return Context(recipe, recipe.profile("embedded"))


def test_prompts_come_from_the_writer_in_order_of_their_ids() -> None:
    rows = prompts.run(context(), Shard({Principle: principles.run(context(), Shard()).rows})).rows
    assert len(rows) == 8 and [row.prompt_id for row in rows] == sorted(row.prompt_id for row in rows)


@pytest.mark.parametrize("side", ["prompt", "chosen_prompt", "rejected_prompt"])
def test_a_recipe_that_words_what_the_floor_refuses_is_refused_whole(
    side: str, principle: Principle, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = {"prompt": "a chef", "chosen_prompt": "a chef", "rejected_prompt": "a cook", side: "a nude child"}
    row = Prompt(
        "p", "pixel", "c", chosen_negative="", rejected_negative="", cluster="k", split="train", author="a", **texts
    )
    monkeypatch.setattr(OfflineWriter, "prompts", lambda *_: Written([row]))
    with pytest.raises(RecipeError, match="refused.*nothing was stored") as caught:
        prompts.run(context(), Shard({Principle: [principle]}))
    assert "nude" not in str(caught.value)
