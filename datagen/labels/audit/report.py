"""The audit as plain values, as audit.json holds it; equal tables give equal values, and no time is in it."""

from __future__ import annotations

import dataclasses
from typing import Any

from datagen.labels import resampling
from datagen.labels.audit import jury, published
from datagen.labels.audit.evidence import Evidence
from datagen.labels.audit.published import Published

FORMAT = 1
NOT_AUDITED = ["text rendered into the images"]


def report(evidence: Evidence, pairs: Published | None, *, built: bool, notes: list[str]) -> dict[str, Any]:
    """All figures, `warnings` in words, and `notes` of what could not be told.

    `evidence` is of the images whether or not they became pairs; `pairs` are those that were published, None where
    there are no labels. `built` says that the judges made the labels.
    """
    evidence = dataclasses.replace(evidence, prompts=resampling.numbered(evidence.prompts))
    judges, warnings = jury.judges(evidence, built)
    agreement, said = jury.agreements(evidence)
    found: dict[str, Any] = {
        "format": FORMAT,
        "meetings": len(evidence.prompts),
        "prompts": len(set(evidence.prompts.tolist())),
        "judges": judges,
        "agreement": agreement,
        "pairs": 0 if pairs is None else len(pairs.rows),
        "shortcuts": [],
        "leaks": None,
        "near_duplicates": None,
        "not_audited": NOT_AUDITED,
    }
    warnings += said
    notes = [*notes, *_notes(found, evidence)]
    if pairs is None or not pairs.rows:
        notes.append("no pair is labelled: shortcuts, leaks and near-duplicates are of labelled pairs")
    else:
        twins = published.twins_of(pairs)
        found["shortcuts"], of_shortcuts = published.shortcuts_of(pairs)
        found["leaks"], of_leaks = published.leaks(pairs, twins)
        found["near_duplicates"], of_twins = published.near_duplicates_of(pairs, twins)
        warnings += of_shortcuts + of_leaks + of_twins
        if len(found["leaks"]["splits"]) == 1:
            notes.append(f"all pairs are of one split ({found['leaks']['splits'][0]}), so nothing can leak")
    return {**found, "warnings": warnings, "notes": notes}


def _notes(found: dict[str, Any], evidence: Evidence) -> list[str]:
    """What cannot be told of these judges, and why."""
    if not found["meetings"]:
        return ["no two images of one prompt meet, so nothing can be said of the judges"]
    notes = []
    if found["prompts"] == 1:
        notes.append("all pairs are of one prompt, so there are no intervals")
    if len(evidence.names) == 1:
        notes.append("one judge: there is no other that it could agree with")
    elif found["agreement"]["fleiss"] is None:
        notes.append("Fleiss's kappa is none: no pair was judged by all judges, or all answers are alike")
    if not any(row["generators"] for row in found["judges"]):
        notes.append("no two images that meet are of different generators, so none can be preferred")
    return notes
