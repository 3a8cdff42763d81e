"""The rows of a run directory of images that exist: its one principle, prompts, images, and what the judges said."""

from __future__ import annotations

import collections
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from datagen.commands.label.groups import Group
from datagen.commands.label.joined import Joined
from datagen.commands.label.pictures import Picture
from datagen.labels import axes, verdicts
from datagen.recipe import FOUND
from datagen.records import Image, Principle, Prompt, Score
from datagen.text import near_duplicates

PRINCIPLE = Principle(
    principle_id=FOUND,
    kind="prefer",
    category="preference",
    statement="the image that is better for its prompt",
    aligned="{prompt}",
    violating="{prompt}",
    aligned_negative="",
    violating_negative="",
    author=FOUND,
    source=FOUND,
)
TAUGHT = 3_000  # prompts that images of others were judged by: more would teach no more


def prompts(joined: Joined, groups: Sequence[Group], author: str, test_share: float, seed: int) -> list[Prompt]:
    """A row a group. Those of near-duplicate texts, and those that have an image in common, are of one cluster."""
    clusters = _clusters(joined, groups)
    splits = near_duplicates.split(clusters, test_share, seed)
    return [
        Prompt(
            group.prompt_id, FOUND, PRINCIPLE.category, group.prompt, group.prompt, group.prompt, "", "", cluster,
            split, author,
        )
        for group, cluster, split in zip(groups, clusters, splits, strict=True)
    ]  # fmt: skip


def _clusters(joined: Joined, groups: Sequence[Group]) -> list[str]:
    """The id of the first prompt of each group's cluster."""
    parent = list(range(len(groups)))

    def root(at: int) -> int:
        while parent[at] != at:
            parent[at] = parent[parent[at]]
            at = parent[at]
        return at

    def join(one: int, other: int) -> None:
        first, second = sorted((root(one), root(other)))
        parent[second] = first

    for at, near in enumerate(near_duplicates.clusters(group.prompt for group in groups).tolist()):
        join(at, near)
    seen: dict[str | None, int] = {}
    for at, group in enumerate(groups):
        for place in group.members:
            join(at, seen.setdefault(joined.images[place].digest, at))
    return [groups[root(at)].prompt_id for at in range(len(groups))]


def images(group: Group, joined: Joined, found: Mapping[int, Picture]) -> Iterator[Image]:
    """A row for each image of a group that was found, in the order of the input."""
    for index, place in enumerate(group.members):
        if (picture := found.get(place)) is not None:
            yield Image(
                image_id=str(joined.images[place].digest),
                prompt_id=group.prompt_id,
                side="candidate",
                index=index,
                text=group.prompt,
                negative="",
                seed=0,
                generator=FOUND,
                generator_revision="",
                scheduler="",
                steps=0,
                guidance=0.0,
                width=picture.width,
                height=picture.height,
                image=picture.data,
            )


def scores(group: Group, joined: Joined, kept: Collection[int], others: Iterable[int]) -> Iterator[Score]:
    """What the judges said of those of a group's images that were `kept`, of their degraded copies, of each two that
    they compared, and of `others` by its prompt.

    A number that is not there has as its note why, as far as that is known.
    """
    own = [place for place in group.members if place in kept]
    for place in own:
        image = joined.images[place]
        for column in joined.columns:
            value = _number(column.values[place])
            note = "" if value is not None else (image.error or "it abstained")[:200]
            who = (str(image.digest), group.prompt_id, column.judge, column.version)
            yield Score(*who, axes.IMAGE, value, None, column.category, note=note)
        for column in joined.columns:
            of_copy = _number(column.of_worse[place])
            if of_copy is not None and not column.category:
                name = verdicts.copy_id(str(image.digest), image.worse)
                yield Score(name, group.prompt_id, column.judge, column.version, axes.IMAGE, of_copy)
    known = {place: str(joined.images[place].digest) for place in own}
    for duels in joined.duels:
        for place, name in known.items():
            for other, p in duels.said.get(place, {}).items():
                if other in known:
                    who = (name, group.prompt_id, duels.judge, duels.version)
                    yield Score(*who, axes.BEATS, _number(p), opponent=known[other])
    for place in others:
        for column in joined.columns:
            value = _number(column.by_other[place])
            if value is not None and not column.category:
                who = (str(joined.images[place].digest), group.prompt_id, column.judge, column.version)
                yield Score(*who, axes.IMAGE, value)


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def others(joined: Joined, groups: Sequence[Group]) -> dict[str, list[int]]:
    """The images of other prompts that were judged by the prompt of a group, by its id; two of one prompt together."""
    named = {group.prompt: group for group in reversed(groups)}
    own = {group.prompt_id: {joined.images[place].digest for place in group.members} for group in named.values()}
    found: dict[str, dict[str, list[int]]] = collections.defaultdict(lambda: collections.defaultdict(list))
    for place, image in enumerate(joined.images):
        group = named.get(image.other) if image.other and image.digest is not None else None
        if group is not None and image.digest not in own[group.prompt_id]:
            found[group.prompt_id][image.prompt].append(place)
    some = list(found)[:: max(1, -(-len(found) // TAUGHT))]
    return {name: [place for places in found[name].values() for place in places] for name in some}
