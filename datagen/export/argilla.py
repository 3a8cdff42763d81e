"""Argilla's records with what the judges think as suggestions, pictures within, one JSON object a line.

Answers come back by `datagen relabel RUN --people FILE`, which reads what Argilla's `to_json` writes.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from datagen.export import Finished
from datagen.export.parts import files, readme
from datagen.export.parts.pairs import SIDES, Pairs, in_order
from datagen.images.kinds import kind_of

QUESTION = "better"
ANSWERS = ("image_1", "image_2", "tie", "both bad")
ABOUT = readme.About(
    __name__,
    "Argilla 2",
    f"`records.jsonl`: fields `prompt`, `image_1`, `image_2`, a suggestion to the question `{QUESTION}` with its "
    "probability, metadata; which image comes first follows from the id of the pair",
    f"""import argilla

settings = argilla.Settings(
    fields=[argilla.TextField("prompt"), argilla.ImageField("image_1"), argilla.ImageField("image_2")],
    questions=[argilla.LabelQuestion("{QUESTION}", labels={json.dumps(ANSWERS)})],
    metadata=[argilla.TermsMetadataProperty("split"), argilla.FloatMetadataProperty("probability")],
)


def record(line):
    row = json.loads(line)
    row["suggestions"] = [argilla.Suggestion(**one) for one in row["suggestions"]]
    return argilla.Record(**row)


records = [record(line) for line in open("FOLDER/records.jsonl")]""",
)
stamp = ABOUT.stamp


def export(finished: Finished, folder: Path) -> None:
    """Write the records of both splits."""
    pairs = Pairs(finished, ["prompt", *SIDES], ties=True)
    with (folder / "records.jsonl").open("w", encoding="utf-8") as out:
        for row in pairs:
            out.write(files.line(_record(finished, row)) + "\n")
    readme.write(finished, folder, ABOUT, pairs.kept, pairs.left)


def _record(finished: Finished, row: dict[str, Any]) -> dict[str, Any]:
    (first, second), wins = in_order(row)
    suggestion = {
        "question_name": QUESTION,
        "value": ANSWERS[0 if wins else 1],
        "score": row["probability"],
        "agent": f"datagen-{finished.content}",
        "type": "model",
    }
    return {
        "id": row["pair_id"],
        "fields": {"prompt": row["prompt"], "image_1": _address(row[first]), "image_2": _address(row[second])},
        "suggestions": [suggestion],
        "metadata": {"split": row["split"], "probability": row["probability"]},
    }


def _address(picture: dict[str, Any]) -> str:
    """A picture as an address that holds it."""
    kind = (kind_of(picture["bytes"][:64]) or "png").lower()
    return f"data:image/{kind};base64,{base64.b64encode(picture['bytes']).decode()}"
