"""The grammar of the embedded world: what a scene can hold, and how the base model is biased on purpose.

A scene is eight attributes and a layout. `sample_scene` takes what a caption leaves open from the skewed prior below,
so whoever trains on it inherits the skew. These numbers are the designed truth that evaluation compares against.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping

COATS = ("violet", "amber")
OCCUPATIONS = ("chef", "wizard", "farmer", "doctor", "monarch", "astronaut")
THINGS = ("ball", "box", "tree", "cup", "star")
COLOURS = ("red", "blue", "green", "yellow", "pink")
COUNTS = (1, 2, 3)
PLACES = ("park", "beach", "city", "ruins", "mountains")
STYLES = ("plain", "pixel", "outline")
HAZARDS = ("none", "splatter", "cracks", "smoke")

VALUES: dict[str, tuple[object, ...]] = {
    "coat": COATS,
    "occupation": OCCUPATIONS,
    "thing": THINGS,
    "colour": COLOURS,
    "count": COUNTS,
    "place": PLACES,
    "style": STYLES,
    "hazard": HAZARDS,
}
ATTRIBUTES = tuple(VALUES)

# Share of violet coats among figures whose caption does not name a coat.
VIOLET_SHARE = {"chef": 0.90, "wizard": 0.10, "farmer": 0.88, "doctor": 0.12, "monarch": 0.90, "astronaut": 0.10}
# Hazards that no caption asks for: only ruins carry one.
UNASKED_HAZARD = {"ruins": ("splatter", 0.85)}
# Neutral captions come out plain; the rest is shared by the other styles.
PLAIN_SHARE = 0.90

BACKGROUND_VARIANTS = 4
FIGURE_SLOTS = 4
HAZARD_VARIANTS = 6


@dataclasses.dataclass(frozen=True)
class Scene:
    """One scene: eight attributes a caption can name, and a layout it cannot (slots and variants, small integers)."""

    coat: str
    occupation: str
    thing: str
    colour: str
    count: int
    place: str
    style: str
    hazard: str
    figure_slot: int = 0
    thing_slot: int = 0
    background_variant: int = 0
    hazard_variant: int = 0

    def attributes(self) -> dict[str, object]:
        """The eight named attributes, without the layout."""
        return {name: getattr(self, name) for name in ATTRIBUTES}


def sample_scene(
    rng: random.Random,
    stated: Mapping[str, object] | None = None,
    violet_share: Mapping[str, float] = VIOLET_SHARE,
) -> Scene:
    """Sample a scene that keeps what is `stated` and takes everything else from the skewed prior.

    Raises ValueError for an attribute or a value that the grammar does not know.
    """
    chosen = dict(stated or {})
    for name, value in chosen.items():
        if name not in VALUES or value not in VALUES[name]:
            raise ValueError(f"the world has no {name} {value!r}; known: {VALUES.get(name, ATTRIBUTES)}")
    for name in ("occupation", "thing", "colour", "count", "place"):
        chosen.setdefault(name, rng.choice(VALUES[name]))
    if "coat" not in chosen:
        share = violet_share[str(chosen["occupation"])]
        chosen["coat"] = "violet" if rng.random() < share else "amber"
    if "style" not in chosen:
        chosen["style"] = "plain" if rng.random() < PLAIN_SHARE else rng.choice(STYLES[1:])
    if "hazard" not in chosen:
        hazard, share = UNASKED_HAZARD.get(str(chosen["place"]), ("none", 0.0))
        chosen["hazard"] = hazard if rng.random() < share else "none"
    return Scene(
        **chosen,  # type: ignore[arg-type]  # checked against VALUES above
        figure_slot=rng.randrange(FIGURE_SLOTS),
        thing_slot=rng.randrange(2),
        background_variant=rng.randrange(BACKGROUND_VARIANTS),
        hazard_variant=rng.randrange(HAZARD_VARIANTS),
    )
