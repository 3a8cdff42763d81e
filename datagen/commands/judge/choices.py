"""The judges of a call: by name and option, and who of them can be asked about what there is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from datagen import recipe
from datagen.errors import ModelError
from datagen.judges import JUDGES, Judge, panel
from datagen.recipe import JudgeChoice
from datagen.tables.items import Input


def choose(names: Sequence[str], settings: Sequence[str], clip_model: str | None = None) -> list[JudgeChoice]:
    """The judges of `--judges` (each may be several, separated by commas) with the options of `--set`.

    `clip_model` is an older name of `clip.model`. Raises ModelError and RecipeError for names that do not exist.
    """
    wanted = [name.strip() for part in names for name in part.split(",") if name.strip()]
    if not wanted:
        raise ModelError(f"no judge was named; known: {', '.join(JUDGES.names())}")
    options: dict[str, dict[str, Any]] = {name: {} for name in wanted}
    if clip_model is not None and "clip" in options:
        options["clip"]["model"] = clip_model
    for setting in settings:
        key, value = recipe.assignment(setting, "clip.model=ViT-L-14/openai")
        name, _, option = key.rpartition(".")
        if name not in options:
            raise ModelError(f"--set {setting!r}: give JUDGE.OPTION=VALUE for one of --judges: {', '.join(options)}")
        options[name][option] = value
    for name in options:
        JUDGES.check(name)
    return [JudgeChoice(name=name, options=given) for name, given in options.items()]


def able(choices: Sequence[JudgeChoice], given: Input, pairs: bool) -> list[Judge]:
    """The judges; ModelError for one that has nothing to say of single images, or no picture to look at."""
    judges = panel.load(choices)
    for judge in judges:
        if not hasattr(judge, "score") and not hasattr(judge, "compare"):
            raise ModelError(f"the judge {judge.name} answers questions and scores no image: name another")
        if not hasattr(judge, "score") and not pairs:
            raise ModelError(
                f"the judge {judge.name} compares two images and scores none by itself: give pairs and --pairs, or "
                "name another"
            )
        if given.backbones:
            _refuse_without_picture(judge, given)
    return judges


def _refuse_without_picture(judge: Judge, given: Input) -> None:
    """ModelError if a judge needs more than the embeddings that were kept."""
    own = panel.backbones([judge])
    if not own:
        raise ModelError(
            f"the judge {judge.name} looks at pictures, and {given.files[0]} holds their embeddings only: give the "
            "pictures, or leave it out"
        )
    for identity in own.keys() - set(given.backbones):
        raise ModelError(
            f"the judge {judge.name} reads embeddings by {identity}, and {given.files[0]} holds those by "
            f"{', '.join(given.backbones)}: give the pictures, or leave it out"
        )
