"""A recipe: a TOML file that says what a run makes, read into frozen typed values.

Unknown keys are refused with the nearest known name.
"""

from datagen.recipe.begun import (
    OF_OTHERS,
    OPTIONS,
    RELABELLED,
    as_begun,
    asks_llm,
    digest,
    label_changes,
    label_rules,
    of_run,
    relabelled,
    resolved,
)
from datagen.recipe.folder import PROMPTS
from datagen.recipe.reading import assignment, load, names
from datagen.recipe.values import (
    AUTO,
    FOUND,
    SCHEDULERS,
    Images,
    JudgeChoice,
    Labels,
    Profile,
    Prompts,
    Recipe,
    Scheduler,
)

__all__ = [
    "AUTO",
    "FOUND",
    "OF_OTHERS",
    "OPTIONS",
    "PROMPTS",
    "RELABELLED",
    "SCHEDULERS",
    "Images",
    "JudgeChoice",
    "Labels",
    "Profile",
    "Prompts",
    "Recipe",
    "Scheduler",
    "as_begun",
    "assignment",
    "asks_llm",
    "digest",
    "label_changes",
    "label_rules",
    "load",
    "names",
    "of_run",
    "relabelled",
    "resolved",
]
