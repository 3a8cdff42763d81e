"""Which images are compared with each other: those of one prompt, or the two of a pair; the rest is counted."""

from __future__ import annotations

import collections
import dataclasses
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from datagen import safety
from datagen.commands.label.joined import Image, Joined
from datagen.errors import InputError
from datagen.records import content_id

NO_PROMPT, UNREAD, SILENT = "without a prompt", "that could not be read", "of which no judge said anything"
ALONE, REPEATED = "without another of their prompt", "that repeat another of their prompt"


@dataclasses.dataclass(frozen=True)
class Group:
    """Images by their places that are compared with each other, and their prompt."""

    prompt_id: str
    prompt: str
    members: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Grouped:
    """The groups in the order of their first images, and how many images are left out, by reason."""

    groups: list[Group]
    left_out: Counter[str]


def grouped(joined: Joined, by: str | None) -> Grouped:
    """The groups of all images; InputError if there is none.

    Of pairs each is a group, unless they are grouped `by` a column; images of one value are compared as far as they
    have the same prompt, as no judge can compare pictures by different texts.
    """
    reasons = _reasons(joined, by)
    left_out = Counter(reason for reason in reasons if reason is not None)
    if joined.pairs is not None and by is None:
        found = _pairs(joined, reasons, left_out)
    else:
        found = _by_prompt(joined.images, reasons, left_out)
    if not found:
        why = ", ".join(f"{count} {reason}" for reason, count in left_out.most_common())
        what = "has a pair" if joined.pairs is not None else "has two images of one prompt"
        raise InputError(
            f"nothing {what} to compare: of {len(joined.images)} images of {joined.origin.input} are {why}"
        )
    return Grouped(found, left_out)


def _reasons(joined: Joined, by: str | None) -> list[str | None]:
    """Why each image cannot be compared, None if it can."""
    spoken, refused = joined.spoken(), dict[str, str | None]()
    return [_reason(image, bool(said), by, refused) for image, said in zip(joined.images, spoken, strict=True)]


def _reason(image: Image, said: bool, by: str | None, refused: dict[str, str | None]) -> str | None:
    if image.digest is None:
        return UNREAD
    if not image.prompt.strip():
        return f"with a prompt that is {image.error}" if (image.error or "").startswith("refused") else NO_PROMPT
    if image.prompt not in refused:
        refused[image.prompt] = safety.refusal(image.prompt)
    if refused[image.prompt]:
        return f"with a prompt that is {refused[image.prompt]}"
    if by is not None and image.by is None:
        return f"without a {by}"
    if said:
        return None
    return f"{SILENT}: {re.split('[:;(]', image.error)[0].strip()}" if image.error else SILENT


def _by_prompt(images: Sequence[Image], reasons: Sequence[str | None], left_out: Counter[str]) -> list[Group]:
    own: dict[tuple[str | None, str], dict[str, int]] = collections.defaultdict(dict)
    for place, (image, reason) in enumerate(zip(images, reasons, strict=True)):
        if reason is None:
            assert image.digest is not None  # else there is a reason
            members = own[image.by, image.prompt]
            left_out[REPEATED] += image.digest in members
            members.setdefault(image.digest, place)
    found = []
    for (by, prompt), members in own.items():
        if len(members) < 2:
            left_out[ALONE] += 1
        else:
            found.append(Group(content_id("found", by, prompt), prompt, tuple(members.values())))
    left_out += Counter()  # without zeros
    return found


def _pairs(joined: Joined, reasons: Sequence[str | None], left_out: Counter[str]) -> list[Group]:
    assert joined.pairs is not None
    found: dict[str, Group] = {}
    for one, other in joined.pairs[np.argsort(joined.pairs[:, 0], kind="stable")].tolist():
        first, second = joined.images[one], joined.images[other]
        if reasons[one] is not None or reasons[other] is not None:
            left_out["whose partner cannot be used"] += (reasons[one] is None) + (reasons[other] is None)
            continue
        if first.digest == second.digest:
            left_out["whose partner is the same picture"] += 2
            continue
        name = content_id("found", first.prompt, *sorted((str(first.digest), str(second.digest))))
        if name in found:
            left_out["of pairs that repeat another"] += 2
        found.setdefault(name, Group(name, first.prompt, (one, other)))
    left_out += Counter()
    return list(found.values())
