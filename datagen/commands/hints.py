"""What a profile asks of its models that they were not made for: no error, and seldom meant."""

from __future__ import annotations

from datagen import generators
from datagen.commands import doctor
from datagen.errors import ModelError
from datagen.models import Needs
from datagen.recipe import Profile

BURNT = 20.0  # guidance from which Stable Diffusion's colours burn out


def hints(profile: Profile) -> list[str]:
    """One line for each thing that is likely a mistake; none of a model that is not known."""
    found = []
    for model, revision in doctor.models_of(profile):
        try:
            needs = generators.needs(model, revision)
        except ModelError:  # a generator that is not there, which is refused elsewhere
            continue
        if needs is not None:
            found += [f"{model}: {hint}" for hint in (*_of_size(profile, needs), *_of_guidance(profile, needs))]
    return found


def _of_size(profile: Profile, needs: Needs) -> list[str]:
    width, height, side = profile.width, profile.height, needs.side
    found = []
    if min(width, height) < side / 2:
        found.append(f"made for {side}×{side} px, draws fragments at {width}×{height}: take {side // 2} px or more")
    if max(width, height) > 2 * side:
        found.append(f"made for {side}×{side} px, repeats things at {width}×{height}: take {2 * side} px or less")
    if odd := [length for length in dict.fromkeys((width, height)) if length % needs.grain]:
        sides = " and ".join(map(str, odd))
        found.append(f"{sides} px: its U-Net halves sides evenly only where they are multiples of {needs.grain}")
    return found


def _of_guidance(profile: Profile, needs: Needs) -> list[str]:
    if not needs.pipeline:
        return []
    if profile.guidance <= 1:
        return [
            f"guidance {profile.guidance:g} is none: negative prompts are not read, and images follow their wordings "
            "less; right for distilled models (Turbo, Lightning, LCM) alone, others take 4 to 9"
        ]
    if profile.guidance > BURNT:
        return [f"guidance {profile.guidance:g} burns colours out: 4 to 9 is usual"]
    return []
