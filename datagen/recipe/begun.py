"""What a run keeps of its recipe: all that decides its rows, their digest, and the rules it was labelled anew by.

Whatever can change a row is part of the digest: the recipe, the chosen profile, and the text of the files that the
profile's writer reads.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from datagen.errors import RecipeError, one_line
from datagen.recipe import folder
from datagen.recipe.reading import assignment, explain
from datagen.recipe.values import Format, Labels, Profile, Recipe

BEFORE: Format = "png"  # of runs that were begun before there was a choice
RELABELLED = "relabelled"  # in recipe.json: what of [labels] was changed after the run
# What decides what judges are asked; the others only what is made of it.
ASKED = ("settled", "questions", "controls", "copies")
RELABELS = tuple(name for name in Labels.model_fields if name not in ASKED)
RULES = (
    "min_low",
    "rule",
    "most_each_prompt",
    "most_each_principle",
    "known",
    "balanced",
    "questions",
    "controls",
    "copies",
)  # not in every recipe's digest
# What of a profile a generator is given where it is set; those after the first two are not in every recipe's digest.
OPTIONS = (
    "precision", "vae", "prediction", "adapters", "offload", "vae_tiling",
    "long_prompts", "guidance_rescale", "compile",
)  # fmt: skip
# What belongs to a profile's `model` alone, as its `other_models` have it.
OF_OTHERS: dict[str, Any] = {"revision": "", "vae": "", "prediction": "model", "adapters": ()}


def resolved(recipe: Recipe, profile_name: str) -> dict[str, Any]:
    """Everything that decides the rows of a run, JSON-able: the recipe with the one profile and the files it names."""
    profile = recipe.profile(profile_name)
    values = recipe.model_dump(mode="json", exclude={"profiles"})
    served = profile.model_dump(mode="json")
    # What is not used is left out, so that what was begun before there was any of it is resumed.
    if not profile.tiers:
        del served["tiers"], values["labels"]["settled"]
    for name in OPTIONS[2:]:
        if getattr(profile, name) == Profile.model_fields[name].default:
            del served[name]
    usual = Labels().model_dump(mode="json")
    for name in RULES:
        if values["labels"][name] == usual[name]:
            del values["labels"][name]
    if not values["llm"]["parameters"]:
        del values["llm"]["parameters"]
    if recipe.images.format == BEFORE:
        del values["images"]["format"]
    if not recipe.images.metadata:
        del values["images"]["metadata"]
    return {
        **values,
        "profile": {"name": profile_name, **served},
        "files": {
            name: _digest(path)
            for name, path in _files(recipe, profile)
            if path.is_file()  # one that is missing is the principles or the prompts stage's error
        },
    }


def digest(recipe: Recipe, profile_name: str) -> str:
    """16 hex digits of `resolved`; runs of equal digest make equal rows."""
    text = json.dumps(resolved(recipe, profile_name), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def as_begun(recipe: Recipe, settings: Mapping[str, Any] | None) -> Recipe:
    """A recipe that does not say what files images are kept in, with those that its run was begun with.

    `settings` are the run's recipe.json; None of one that is not begun.
    """
    begun = (settings or {}).get("recipe", {}).get("images")
    if not isinstance(begun, dict) or "format" in begun or "format" in recipe.images.model_fields_set:
        return recipe
    return recipe.model_copy(update={"images": recipe.images.model_copy(update={"format": BEFORE})})


def of_run(settings: dict[str, Any]) -> tuple[Recipe, str]:
    """The recipe of a run and the name of its profile, from its recipe.json; inverse of `resolved`.

    With the [labels] that it was given since it was started.

    Raises RecipeError if the settings are not those of a recipe.
    """
    try:
        values = dict(settings["recipe"])
        values["images"] = {"format": BEFORE, **values["images"]}
        profile = dict(values.pop("profile"))
        values.pop("files", None)
        name = profile.pop("name")
        return relabelled(Recipe.model_validate({**values, "profiles": {name: profile}}), settings), name
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason = explain(error) if isinstance(error, ValidationError) else one_line(error)
        by = settings.get("version", "another version")
        raise RecipeError(
            f"recipe.json does not hold a recipe of this version ({reason}): datagen {by} wrote it"
        ) from error


def relabelled(recipe: Recipe, settings: Mapping[str, Any] | None) -> Recipe:
    """A recipe with the [labels] that its run was given after it, from its recipe.json."""
    changes = (settings or {}).get(RELABELLED)
    if not changes:
        return recipe
    return recipe.model_copy(update={"labels": Labels.model_validate(recipe.labels.model_dump() | changes)})


def label_rules(recipe: Recipe) -> dict[str, Any]:
    """All that labels depend on besides the verdicts, JSON-able: [labels], and the content of the file it names."""
    rules = recipe.labels.model_dump(mode="json", exclude={"questions", "controls", "copies"})
    known = Path(recipe.labels.known)
    return {**rules, "known": _digest(known) if recipe.labels.known and known.is_file() else recipe.labels.known}


def label_changes(recipe: Recipe, overrides: list[str]) -> dict[str, Any]:
    """What `--set labels.KEY=VALUE` changes in [labels], checked; RecipeError for another key or a wrong value."""
    changes = {}
    for override in overrides:
        key, value = assignment(override, "labels.min_probability=0.95")
        section, _, name = key.partition(".")
        if section != "labels" or name in ASKED:
            raise RecipeError(
                f"--set {override!r}: a judged run can be given labels.{', labels.'.join(RELABELS)}; "
                "for anything else start another run"
            )
        changes[name] = value
    try:
        Recipe.model_validate(recipe.model_dump() | {"labels": recipe.labels.model_dump() | changes})
    except ValidationError as error:
        raise RecipeError(explain(error)) from error
    return changes


def asks_llm(recipe: Recipe, profile: Profile) -> bool:
    """Whether a run of this profile asks an LLM."""
    return recipe.writer(profile) in ("llm", "modifier")


def _files(recipe: Recipe, profile: Profile) -> Iterator[tuple[str, Path]]:
    """The files that the rows of a profile depend on, and how they are called in the digest."""
    writer = recipe.writer(profile)
    folders = {"principles": profile.taxonomy} | ({"grammars": profile.grammar} if writer == "offline" else {})
    for kind, name in folders.items():
        yield f"{kind}/{name}.toml", folder.PROMPTS / kind / f"{name}.toml"
    if asks_llm(recipe, profile):
        for path in sorted((folder.PROMPTS / "templates").glob("*.md")):
            yield f"templates/{path.name}", path
    if recipe.prompts.source and writer != "offline":
        yield "source", Path(recipe.prompts.source)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
