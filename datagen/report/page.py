"""What a report says, put into its page: a template of our own, filled and escaped by Jinja.

Texts of prompts reach the page as text only. The page loads nothing, and its policy forbids it to; the one script is
named there by its hash.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from datagen import store, version
from datagen.export import Finished
from datagen.labels import people
from datagen.labels import told as told_of_labels
from datagen.report import charts, figures, look
from datagen.report.entries import Entry
from datagen.report.figures import Bin, Tally
from datagen.report.selection import Shown
from datagen.report.thumbnails import Pictures

HERE = Path(__file__).parent


@dataclasses.dataclass(frozen=True)
class Card:
    """One pair as the page shows it; `true` is what its pictures really show, None where that is not known."""

    entry: Entry
    pictures: Pictures
    true: bool | None


@dataclasses.dataclass(frozen=True)
class Told:
    """A run whose page is written, with what else is told of it; `stages` and `audit` are plain values."""

    finished: Finished
    stages: Sequence[Mapping[str, Any]]
    audit: Mapping[str, Any]

    @property
    def run(self) -> store.Run:
        """The run."""
        return self.finished.run

    @property
    def learnt(self) -> dict[str, Any]:
        """What was learnt of judges and labels."""
        return self.finished.learnt

    @property
    def judges(self) -> list[str]:
        """The judges, in the order of their verdicts."""
        return [choice.name for choice in self.finished.profile.judges]


def render(
    told: Told, tally: Tally, shown: Shown, cards: Mapping[str, Card], true: Sequence[Bin], *, beside: bool
) -> str:
    """The page; `beside`: its pictures lie beside it."""
    script = (HERE / "page.js").read_text(encoding="utf-8-sig")
    labels = told.run.table("labels", 0, ["prompt_id", "chosen_id", "rejected_id", "probability", "judges_only"])
    designed, given = not told.finished.recipe.ranked, told.finished.recipe.labels.known
    known = people.read(Path(given))[0] if given else {}
    text: str = look.template(HERE / "page.html").render(
        title=told.finished.recipe.name,
        description=told.finished.recipe.description,
        policy=f"default-src 'none'; style-src 'unsafe-inline'; script-src {look.hashed(script)}; img-src data:"
        + (" 'self' file:" if beside else ""),
        style=look.style(HERE / "page.css"),
        script=Markup(script),
        data=look.data([_row(card) for card in _shuffled(shown, cards)]),
        judges=told.judges,
        told=told,
        profile=told.finished.profile,
        recipe=told.finished.recipe,
        pairs=tally.pairs,
        by=tally.by,
        expected=tally.expected(),
        sure=charts.sure(tally.sure(), "How many pairs have a probability in which range, in per cent"),
        above=sum(count for low, _, count in tally.sure() if low >= figures.SURE[3]),
        margins=[(one, charts.margins(one, f"How the margins of {one.name} lie")) for one in tally.margins()],
        sided=_diagram(figures.sided(labels), "How often judges side with the wording, by how sure they are")
        if designed
        else None,
        people=_diagram(
            figures.by_people(labels, known), "How often labels are right by people, by their probability"
        ),
        known=len(known),
        truth=_diagram(true, "How often labels are true, by their probability"),
        featured=_featured(shown, cards),
        shown=len(cards),
        lines=told_of_labels.lines(told.learnt),
        audit=told.audit,
        matrix=_matrix(told),
        version=version(),
        interval=_interval,
        percent=_percent,
        clean=look.clean,
    )
    return text


def _diagram(found: Sequence[Bin], label: str) -> dict[str, Any] | None:
    return {"drawing": charts.reliability(found, label), "bins": found} if found else None


def _featured(shown: Shown, cards: Mapping[str, Card]) -> list[tuple[str, str, list[Card]]]:
    """What stands on the page without a script: title, explanation and pairs."""
    kinds = [
        ("Least certain", "Where the labels are most likely to be wrong.", shown.least_certain),
        ("Most disputed", "Where two judges are furthest apart, each by its usual margin.", shown.disputed),
        ("Most certain", "Where all that is known says the same.", shown.most_certain),
    ]
    return [
        (title, why, [cards[entry.pair_id] for entry in some if entry.pair_id in cards]) for title, why, some in kinds
    ]


def _shuffled(shown: Shown, cards: Mapping[str, Card]) -> list[Card]:
    """All pairs of the page in the order of the sample, which no score has a say in."""
    places = {entry.pair_id: place for place, entry in enumerate(shown.sample)}
    return sorted(cards.values(), key=lambda card: (places.get(card.entry.pair_id, len(places)), card.entry.pair_id))


def text_bytes(entry: Entry) -> int:
    """What a pair takes in a page, but for its pictures."""
    return len(look.data(_told(entry)).encode())


def _told(entry: Entry) -> dict[str, Any]:
    row = {
        field.name: getattr(entry, field.name)
        for field in dataclasses.fields(Entry)
        if field.name not in ("margins", "shard", "row", "prompt_id")
    }
    return {name: look.clean(value) if isinstance(value, str) else _rounded(value) for name, value in row.items()}


def _row(card: Card) -> dict[str, Any]:
    """A pair as the page's script reads it."""
    return {
        **_told(card.entry),
        "margins": [None if math.isnan(margin) else round(margin, 3) for margin in card.entry.margins],
        "harmful": card.entry.harmful,
        "pictures": [card.pictures.chosen, card.pictures.rejected],
        "errors": list(card.pictures.errors),
        "true": card.true,
    }


def _rounded(value: float) -> float:
    return round(value, 6) if isinstance(value, float) else value


def _matrix(told: Told) -> list[list[Mapping[str, Any] | None]]:
    """Cohen's kappa of each two judges, None on the diagonal and where there is none."""
    names = told.judges
    found: dict[tuple[str, str], Mapping[str, Any] | None] = {}
    for pair in told.audit["agreement"]["pairs"]:
        one, other = pair["judges"]
        found[one, other] = found[other, one] = pair["cohen"]
    return [[found.get((one, other)) for other in names] for one in names]


def _percent(value: float | None, digits: int = 1) -> str:
    """A share in per cent; a share that is not quite all is never said to be 100 %."""
    if value is None or math.isnan(value):
        return "–"
    cut = math.floor(100 * value * 10**digits + 1e-9) / 10**digits if value < 1 else 100.0
    return f"{cut:.{digits}f} %"


def _interval(estimate: Mapping[str, Any] | None) -> str:
    if estimate is None or estimate.get("value") is None:
        return "–"
    low, high = estimate.get("low"), estimate.get("high")
    ends = "" if low is None or high is None else f" [{low:.2f}, {high:.2f}]"
    return f"{estimate['value']:.2f}{ends}"
