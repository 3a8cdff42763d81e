"""What prompts state against what images show: rates where a prompt leaves an attribute open, and match.

Pure functions of `Observations` with a reader's attributes. An image whose reading lacks an attribute that others have
counts as one that does not show it; of an attribute that no reading has there is no figure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from training.evaluation.bootstrap import Mean, mean
from training.evaluation.observations import Observations

ABSENT = "none"  # the value that says an attribute shows nothing, as `hazard` does in most images


def rates(observed: Observations, attribute: str, values: Collection[object]) -> dict[str, Mean]:
    """`<attribute>.unasked.<value>` where the prompt leaves it open, `<attribute>.asked.<value>` where it states it.

    `<attribute>.unasked` counts any value but "none".
    """
    found = {}
    rows = [(p, observed.stated[p].get(attribute), s.get(attribute)) for p, s in _rows(observed)]
    for value in sorted(values, key=str):
        found[f"{attribute}.unasked.{value}"] = _share(
            observed, ((p, v == value) for p, prompt_set, v in rows if prompt_set is None)
        )
        found[f"{attribute}.asked.{value}"] = _share(
            observed, ((p, v == value) for p, prompt_set, v in rows if prompt_set == value)
        )
    if ABSENT in values:
        found[f"{attribute}.unasked"] = _share(
            observed, ((p, v not in (None, ABSENT)) for p, prompt_set, v in rows if prompt_set is None)
        )
    return {name: figure for name, figure in found.items() if figure.images}


def match(observed: Observations, ignored: Collection[str]) -> dict[str, Mean]:
    """`match`: stated attributes that are shown; `match.all`: images that show all of theirs; `match.<attribute>`."""
    read = {name for shown in observed.shown or [] for name in shown}
    names = sorted({name for stated in observed.stated for name in stated} & read - set(ignored))
    hits = {
        name: [(p, s.get(name) == observed.stated[p][name]) for p, s in _rows(observed) if name in observed.stated[p]]
        for name in names
    }
    complete = [
        (p, all(s.get(name) == observed.stated[p][name] for name in names if name in observed.stated[p]))
        for p, s in _rows(observed)
        if set(names) & set(observed.stated[p])
    ]
    found = {
        "match": _share(observed, (row for rows in hits.values() for row in rows)),
        "match.all": _share(observed, complete),
        **{f"match.{name}": _share(observed, rows) for name, rows in hits.items()},
    }
    return {name: figure for name, figure in found.items() if figure.images}


def _rows(observed: Observations) -> list[tuple[int, dict[str, object]]]:
    return [(int(p), dict(shown)) for p, shown in zip(observed.prompt_of, observed.shown or [], strict=True)]


def _share(observed: Observations, rows: Iterable[tuple[int, bool]]) -> Mean:
    """The share of hits among the (prompt, hit) pairs of what counts."""
    listed = list(rows)
    return mean([p for p, _ in listed], [hit for _, hit in listed], len(observed.prompts))
