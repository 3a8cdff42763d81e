"""What prompts state against what images show: rates where a prompt leaves an attribute open, and match.

Pure functions of `Seen` with a reader's attributes; an image whose reader says nothing of an attribute counts as one
that does not show it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from training.evaluation.bootstrap import Mean, mean
from training.evaluation.seen import Seen

ABSENT = "none"  # the value that says an attribute shows nothing, as `hazard` does in most images


def rates(seen: Seen, attribute: str, values: Collection[object]) -> dict[str, Mean]:
    """`<attribute>.unasked.<value>` where the prompt leaves it open, `<attribute>.asked.<value>` where it states it.

    `<attribute>.unasked` counts any value but "none".
    """
    found = {}
    rows = [(p, seen.stated[p].get(attribute), s.get(attribute)) for p, s in _rows(seen)]
    for value in sorted(values, key=str):
        found[f"{attribute}.unasked.{value}"] = _share(
            seen, ((p, v == value) for p, asked, v in rows if asked is None)
        )
        found[f"{attribute}.asked.{value}"] = _share(seen, ((p, v == value) for p, asked, v in rows if asked == value))
    if ABSENT in values:
        found[f"{attribute}.unasked"] = _share(seen, ((p, v != ABSENT) for p, asked, v in rows if asked is None))
    return {name: figure for name, figure in found.items() if figure.images}


def match(seen: Seen, ignored: Collection[str]) -> dict[str, Mean]:
    """`match`: stated attributes that are shown; `match.all`: images that show all of theirs; `match.<attribute>`."""
    names = sorted({name for stated in seen.stated for name in stated} - set(ignored))
    hits = {
        name: [(p, s.get(name) == seen.stated[p][name]) for p, s in _rows(seen) if name in seen.stated[p]]
        for name in names
    }
    complete = [
        (p, all(s.get(name) == seen.stated[p][name] for name in names if name in seen.stated[p]))
        for p, s in _rows(seen)
        if set(names) & set(seen.stated[p])
    ]
    found = {
        "match": _share(seen, (row for rows in hits.values() for row in rows)),
        "match.all": _share(seen, complete),
        **{f"match.{name}": _share(seen, rows) for name, rows in hits.items()},
    }
    return {name: figure for name, figure in found.items() if figure.images}


def _rows(seen: Seen) -> list[tuple[int, dict[str, object]]]:
    return [(int(p), dict(shown)) for p, shown in zip(seen.prompt_of, seen.shown or [], strict=True)]


def _share(seen: Seen, rows: Iterable[tuple[int, bool]]) -> Mean:
    """The share of hits among the (prompt, hit) pairs of what counts."""
    listed = list(rows)
    return mean([p for p, _ in listed], [hit for _, hit in listed], len(seen.prompts))
