"""What the peers' own code reads of an export: the same pairs, labels and bytes.

`python -m benchmarks export_readers [--simpletuner CHECKOUT …]`. TRL, Label Studio's and Argilla's libraries are not
among the dependencies: a throw-away environment that has them beside the project is the place for them. Trainers that
cannot be installed there are read from a checkout of each. What is not given is said to be not checked. A run of a few
pairs is made, judged and labelled, and written in the format of each; the figure is of how many pairs a peer says the
same as it.
"""

from __future__ import annotations

import argparse
import base64
import importlib.metadata
import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.support import checkouts, judged_run
from benchmarks.support.results import Row, record
from datagen import store
from datagen.commands.export import export_run
from datagen.commands.relabel import relabel
from datagen.export.parts import pictured

PROMPTS = 60
COLUMNS = pictured.schema().names
Pairs = Mapping[str, Mapping[str, Any]]  # pair id → its row


def main() -> int:
    """Print and record of how many pairs each peer reads the same; 1 if of one it does not, 2 without the peers."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks export_readers", description=__doc__, allow_abbrev=False
    )
    for name in checkouts.READERS:
        parser.add_argument(f"--{name}", type=Path, metavar="CHECKOUT", help=f"read what {name}'s own code reads")
    asked = vars(parser.parse_args())
    given = {name: asked[name.replace("-", "_")] for name in checkouts.READERS}
    for name in (missing := [name for name in READERS if _version(name) is None]):
        print(f"{READERS[name][0]}: not checked, as {name} is not installed beside the project")
    for name in (without := [name for name, checkout in given.items() if checkout is None]):
        print(f"{checkouts.READERS[name][0]}: not checked, as there is no --{name} CHECKOUT")
    if len(missing) == len(READERS) and len(without) == len(given):
        print("error: nothing to check with: give a checkout, or a Python that has a peer's library", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="readers-") as scratch:
        root = Path(scratch) / "run"
        judged_run.write(root, judged_run.recipe(PROMPTS, changes=("labels.min_probability=0.5",)))
        relabel(store.Run(root), [])
        run = store.Run(root)
        shards = len(list((root / "tables" / "pairs").glob("*.parquet")))
        pairs = {
            row["pair_id"]: row
            for k in range(shards)
            for table in pictured.tables(run, k, COLUMNS)
            for row in table.to_pylist()
        }
        rows = [_row(name, root, Path(scratch), pairs) for name in READERS if name not in missing]
        rows += [_read(name, given[name], root, Path(scratch), pairs) for name in given if name not in without]
    print(*rows, sep="\n")
    record("export_readers", rows)
    return 0 if all(row.reached for row in rows) else 1


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _row(name: str, root: Path, scratch: Path, pairs: Pairs) -> Row:
    format_, read, how = READERS[name]
    export_run(root, format_, scratch / format_)
    same = float(read(scratch / format_, pairs))
    what = f"{format_}: pairs that {name} reads as the run has them"
    return Row(what, same, "", f"= {len(pairs)}", note=f"{name} {_version(name)}: {how}")


def _read(name: str, checkout: Path, root: Path, scratch: Path, pairs: Pairs) -> Row:
    """The pairs of train that a trainer's own code gives as the run has them."""
    format_, read, how = checkouts.READERS[name]
    export_run(root, format_, scratch / format_)
    wanted, same = {key for key, row in pairs.items() if row["split"] == "train"}, 0
    count = len(wanted)
    for key, prompt, *pictures in read(checkout.resolve(), scratch / format_):
        own = pairs[key]
        wanted.remove(key)
        same += " ".join(own["prompt"].split()) == " ".join(prompt.split()) and all(
            _alike(Image.fromarray(np.asarray(picture)), own[side])
            for picture, side in zip(pictures, ("chosen", "rejected"), strict=True)
        )
    what = f"{format_}: pairs of train that {name} reads as the run has them"
    return Row(what, same, "", f"= {count}", note=f"{_commit(checkout)}: {how}")


def _commit(checkout: Path) -> str:
    """Of which commit a checkout is, as far as it says."""
    git = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
    done = subprocess.run(git, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "a copy without its history"


def _trl(folder: Path, pairs: Pairs) -> int:
    """Preferences as its trainer of vision models prepares them, and the same unpaired as its KTO wants them."""
    import datasets
    from trl import data_utils  # type: ignore[import-not-found]  # not in the lock

    same = 0
    for table in datasets.load_dataset("parquet", data_dir=str(folder / "data")).values():
        single = data_utils.maybe_unpair_preference_dataset(table.remove_columns("images"))
        labels = [(row["completion"][0]["content"], row["label"]) for row in single]
        answers = [(row["chosen"][0]["content"], True) for row in table]
        unpaired = labels == answers + [({"1": "2", "2": "1"}[answer], False) for answer, _ in answers]
        for row in table:
            (message,) = data_utils.prepare_multimodal_messages(row["prompt"], images=row["images"])
            shown = [block["image"] for block in message["content"] if block["type"] == "image"]
            text = " ".join(block["text"] for block in message["content"] if block["type"] == "text")
            own = pairs[row["pair_id"]]
            better, worse = shown if row["chosen"][0]["content"] == "1" else shown[::-1]
            right = data_utils.is_conversational(row) and unpaired
            same += (
                right and own["prompt"] in text and _alike(better, own["chosen"]) and _alike(worse, own["rejected"])
            )
    return same


def _alike(shown: Image.Image, picture: Mapping[str, Any]) -> bool:
    with Image.open(io.BytesIO(picture["bytes"]), formats=["WEBP", "PNG", "JPEG"]) as own:
        return shown.mode == own.mode and shown.tobytes() == own.tobytes()


def _label_studio(folder: Path, pairs: Pairs) -> int:
    """Tasks and predictions as its own check of an import sees them, and the files that they name."""
    from label_studio_sdk.label_interface import LabelInterface  # type: ignore[import-not-found]  # not in the lock

    page = LabelInterface((folder / "config.xml").read_text(encoding="utf-8-sig"))
    page.validate()
    same = 0
    for path in sorted((folder / "tasks").glob("*.json")):
        for task in json.loads(path.read_text(encoding="utf-8-sig")):
            (said,), data = task["predictions"], task["data"]
            files = [(folder / data[side].partition("?d=")[2]).read_bytes() for side in ("image_a", "image_b")]
            left = said["result"][0]["value"]["selected"] == "left"
            row = pairs[data["pair_id"]]
            right = page.validate_task({"data": data}) and page.validate_prediction(said)
            same += right and data["prompt"] == row["prompt"] and _says(row, files if left else files[::-1], said)
    return same


def _argilla(folder: Path, pairs: Pairs) -> int:
    """Records as its own classes hold them, and the pictures as it opens them."""
    import argilla  # type: ignore[import-not-found]  # not in the lock
    from argilla._helpers._media import uncast_image  # type: ignore[import-not-found]  # not in the lock

    same = 0
    for line in (folder / "records.jsonl").read_text(encoding="utf-8-sig").splitlines():
        given = json.loads(line)
        given["suggestions"] = [argilla.Suggestion(**one) for one in given["suggestions"]]
        held = argilla.Record(**given).to_dict()
        row, (said,) = pairs[held["id"]], held["suggestions"].values()
        sides = [held["fields"][name] for name in ("image_1", "image_2")]
        sides = sides if said["value"] == "image_1" else sides[::-1]
        opened = [uncast_image(side) for side in sides]
        files = [base64.b64decode(side.partition(",")[2]) for side in sides]
        right = _alike(opened[0], row["chosen"]) and _alike(opened[1], row["rejected"])
        same += right and held["fields"]["prompt"] == row["prompt"] and _says(row, files, said)
    return same


def _says(row: Mapping[str, Any], files: list[bytes], said: Mapping[str, Any]) -> bool:
    """Whether the preferred file comes first, both are the run's bytes, and the probability is its own."""
    return files == [row["chosen"]["bytes"], row["rejected"]["bytes"]] and said["score"] == row["probability"]


READERS: dict[str, tuple[str, Callable[[Path, Pairs], int], str]] = {
    "trl": ("judging", _trl, "prepare_multimodal_messages and, for KTO, maybe_unpair_preference_dataset"),
    "label-studio-sdk": (
        "label_studio",
        _label_studio,
        "LabelInterface and what it validates",
    ),
    "argilla": ("argilla", _argilla, "Record, Suggestion, and its reader of pictures"),
}


if __name__ == "__main__":
    sys.exit(main())
