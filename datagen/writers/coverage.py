"""Even coverage: how many prompts each category and principle should have, and which are short of it and why.

Everything follows from its arguments in their order; nothing is random.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping, Sequence

from datagen.records import Principle, Prompt


def quotas(supply: Mapping[str, int], count: int) -> dict[str, int]:
    """`count` shared evenly among names that can give `supply` each.

    A name that has less than an even share gives all it has, and the others share the rest. Where that leaves a
    remainder, the first names get one more (the largest remainder, which is the same for all). The sum is `count`,
    or all there is.
    """
    given = dict.fromkeys(supply, 0)
    left, count = list(supply), min(count, sum(supply.values()))
    while left:
        share = count // len(left)
        if scarce := [name for name in left if supply[name] <= share]:
            for name in scarce:
                given[name] = supply[name]
            count -= sum(supply[name] for name in scarce)
            left = [name for name in left if supply[name] > share]
            continue
        for k, name in enumerate(left):
            given[name] = share + (k < count - share * len(left))
        break
    return given


def targets(principles: Sequence[Principle], count: int) -> dict[str, int]:
    """How many of `count` prompts each principle should have, by id: even over categories, then inside each."""
    groups: dict[str, list[str]] = {}
    for principle in principles:
        groups.setdefault(principle.category, []).append(principle.principle_id)
    each = quotas(dict.fromkeys(groups, count), count)
    return {
        name: part for category, names in groups.items() for name, part in quotas(
            dict.fromkeys(names, each[category]), each[category]
        ).items()
    }  # fmt: skip


def balance(rows: Iterable[Prompt], count: int) -> list[Prompt]:
    """`count` rows, even over categories and inside each over principles; of each the first ones, in their order."""
    groups: dict[str, dict[str, list[Prompt]]] = {}
    for row in rows:
        groups.setdefault(row.category, {}).setdefault(row.principle_id, []).append(row)
    each = quotas({name: sum(map(len, group.values())) for name, group in groups.items()}, count)
    return [
        row
        for category, group in groups.items()
        for name, part in quotas({name: len(found) for name, found in group.items()}, each[category]).items()
        for row in group[name][:part]
    ]


def shortages(
    principles: Sequence[Principle], rows: Iterable[Prompt], count: int, dropped: Mapping[str, Mapping[str, int]]
) -> list[str]:
    """A line for each principle with fewer sound rows than its share of `count`; rows with an error do not count.

    `dropped`: how many drafts each principle id lost, by reason. An empty list means even coverage.
    """
    found = collections.Counter(row.principle_id for row in rows if row.error is None)
    categories = {principle.principle_id: principle.category for principle in principles}
    lines = []
    for name, wanted in targets(principles, count).items():
        if found[name] < wanted:
            reasons = sorted(dropped.get(name, {}).items(), key=lambda item: (-item[1], item[0]))
            why = ", ".join(f"{number} {reason}" for reason, number in reasons) or "nothing was dropped"
            lines.append(f"{categories[name]}: {name} has {found[name]} of {wanted} prompts ({why})")
    return lines
