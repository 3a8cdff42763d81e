"""The pairs that were published: what could tell their winners without a judge, what their splits share, and twins."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from datagen.images import near_duplicates
from datagen.images.looks import Look
from datagen.labels import resampling
from datagen.labels.audit import shortcuts
from datagen.labels.audit.figures import rounded

EXAMPLES = 5  # that a report names
BY_DESIGN = "the two wordings differ by design, and only a trainer that reads them sees it"
PICTURE = ("brightness", "saturation", "sharpness")
GENERATOR, WORDING, SIZE = "generator", "wording length", "file size"


@dataclasses.dataclass(frozen=True)
class Row:
    """One pair without its pictures; ids are of the images."""

    pair_id: str
    prompt_id: str
    prompt: str
    cluster: str
    split: str
    chosen: str
    rejected: str
    chosen_text: str
    rejected_text: str
    chosen_generator: str
    rejected_generator: str


@dataclasses.dataclass(frozen=True)
class Published:
    """The pairs, the looks of their images by id (without those that cannot be read), and the sizes of their files.

    `worded` says that the two images of a pair were drawn from two wordings, which differ by design.
    """

    rows: Sequence[Row]
    looks: Mapping[str, Look]
    sizes: Mapping[str, int]
    worded: bool


def shortcuts_of(pairs: Published) -> tuple[list[dict[str, Any]], list[str]]:
    """What predicts the winner by itself, and warnings in words."""
    prompts = resampling.numbered(np.array([row.prompt_id for row in pairs.rows], dtype=object))
    facts, wording = _facts(pairs), {WORDING: _lengths(pairs)}
    if pairs.worded:  # two wordings differ by design: that is told, not warned of, and no part of the others
        found = shortcuts.audit(facts, prompts)
        (by_design,) = shortcuts.audit(wording, prompts)
        found.append(dataclasses.replace(by_design, warned=False, why=by_design.why or BY_DESIGN))
    else:
        found = shortcuts.audit(facts | wording, prompts)
    rows = [
        {
            "name": one.name,
            "auc": rounded(one.auc),
            "low": rounded(one.low),
            "high": rounded(one.high),
            "pairs": one.pairs,
            "winner_has_more": rounded(one.higher),
            "warned": one.warned,
            "note": one.why,
        }
        for one in found
    ]
    return rows, [_in_words(one) for one in found if one.warned]


def _facts(pairs: Published) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    facts = {name: {key: getattr(look, name) for key, look in pairs.looks.items()} for name in PICTURE}
    facts[SIZE] = dict(pairs.sizes)
    numbers = {
        name: tuple(np.array([of.get(key, np.nan) for key in keys], dtype=float) for keys in _images(pairs))
        for name, of in facts.items()
    }
    chosen, rejected = (np.array(made, dtype=str) for made in _generators(pairs))
    return {**{name: (one, other) for name, (one, other) in numbers.items()}, GENERATOR: (chosen, rejected)}


def _images(pairs: Published) -> tuple[list[str], list[str]]:
    return [row.chosen for row in pairs.rows], [row.rejected for row in pairs.rows]


def _generators(pairs: Published) -> tuple[list[str], list[str]]:
    return [row.chosen_generator for row in pairs.rows], [row.rejected_generator for row in pairs.rows]


def _lengths(pairs: Published) -> tuple[np.ndarray, np.ndarray]:
    chosen, rejected = ([len(row.chosen_text) for row in pairs.rows], [len(row.rejected_text) for row in pairs.rows])
    return np.array(chosen, dtype=float), np.array(rejected, dtype=float)


def _in_words(found: shortcuts.Shortcut) -> str:
    if found.name == shortcuts.TOGETHER:
        said = "all of these facts together predict the winner"
    else:
        said = f"{found.name} alone predicts the winner"
    how = ""
    if found.higher is not None and abs(found.higher - 0.5) > 0.05:
        more = "more" if found.higher > 0.5 else "less"
        how = f"; the winner has {more} of it in {100 * max(found.higher, 1 - found.higher):.0f} % of the pairs"
    return f"shortcut: {said}, AUC {found.auc:.2f} [{found.low:.2f}, {found.high:.2f}]{how}"


def leaks(pairs: Published, twins: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """What stands in more than one split: prompts by text, clusters of similar prompts, images, near-duplicates.

    `twins` are those of `twins_of`. Without a second split nothing is counted.
    """
    kinds: dict[str, list[tuple[str, ...]]] = {
        "prompts": [(" ".join(row.prompt.casefold().split()),) for row in pairs.rows],
        "clusters": [(row.cluster,) if row.cluster else () for row in pairs.rows],
        "images": [(row.chosen, row.rejected) for row in pairs.rows],
        "near_duplicate_images": [
            tuple(twins[key] for key in (row.chosen, row.rejected) if key in twins) for row in pairs.rows
        ],
    }
    splits = sorted({row.split for row in pairs.rows})
    found: dict[str, Any] = {"splits": splits}
    warnings = []
    for kind, values in kinds.items():
        where: dict[str, set[str]] = collections.defaultdict(set)
        for row, own in zip(pairs.rows, values, strict=True):
            for value in own:
                where[value].add(row.split)
        shared = sorted(value for value, some in where.items() if len(some) > 1)
        found[kind] = len(shared) if len(splits) > 1 else None
        found[f"{kind}_examples"] = shared[:EXAMPLES]
        if shared:
            named = kind.replace("_", " ")
            warnings.append(f"leak: {len(shared)} {named} stand in more than one split, first {shared[0][:80]!r}")
    return found, warnings


def near_duplicates_of(pairs: Published, twins: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """Near-duplicate images: in one pair, where there is no preference to learn; in one prompt; and across prompts."""
    prompts: dict[str, set[str]] = collections.defaultdict(set)
    members: dict[str, set[str]] = collections.defaultdict(set)
    within: dict[str, dict[str, set[str]]] = collections.defaultdict(lambda: collections.defaultdict(set))
    alike = []
    for row in pairs.rows:
        own = [key for key in (row.chosen, row.rejected) if key in twins]
        for key in own:
            prompts[twins[key]].add(row.prompt_id)
            members[twins[key]].add(key)
            within[row.prompt_id][twins[key]].add(key)
        if len(own) == 2 and twins[own[0]] == twins[own[1]]:
            alike.append(row.pair_id)
    one_prompt = sum(any(len(some) > 1 for some in groups.values()) for groups in within.values())
    across = [name for name, some in prompts.items() if len(some) > 1]
    found = {
        "images": len(pairs.looks),
        "unread": len({key for row in pairs.rows for key in (row.chosen, row.rejected)} - set(pairs.looks)),
        "pairs_of_one_look": len(alike),
        "pairs_of_one_look_examples": alike[:EXAMPLES],
        "prompts_with_near_duplicates": one_prompt,
        "groups_across_prompts": len(across),
        "images_across_prompts": len(set().union(*(members[name] for name in across))) if across else 0,
    }
    warnings = []
    if alike:
        warnings.append(
            f"{len(alike)} pairs are of two pictures that look the same, so there is no preference to learn, "
            f"first pair {alike[0]}"
        )
    if found["unread"]:
        warnings.append(f"{found['unread']} images cannot be read, so nothing is known of how they look")
    return found, warnings


def twins_of(pairs: Published) -> dict[str, str]:
    """The first image that each one looks like, by id."""
    keys = sorted(pairs.looks)
    groups = near_duplicates.groups([pairs.looks[key] for key in keys])
    return {key: keys[int(group)] for key, group in zip(keys, groups, strict=True)}
