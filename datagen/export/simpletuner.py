"""Winners and losers as two folders of equal names, and the data backends by which SimpleTuner pairs them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from datagen.export import Finished
from datagen.export.parts import beside, files, readme

ABOUT = readme.About(
    __name__,
    "SimpleTuner (`flow_dpo`)",
    "`SPLIT/chosen/NAME`, `SPLIT/rejected/NAME`, captions beside both, and `multidatabackend.json`, whose paths are "
    "relative to the folder",
    'backends = json.loads(Path("FOLDER/multidatabackend.json").read_text())',
)
KINDS = "pairs of two kinds of file, whose names differ by their ends: SimpleTuner pairs equal names"
SMALLEST = 64  # pixels: SimpleTuner groups the files of a set by shape at this step
stamp = ABOUT.stamp


def export(finished: Finished, folder: Path) -> None:
    """Write both folders of each split, and the backends of train."""
    files.put(folder / "multidatabackend.json", json.dumps(_backends(finished), indent=2).encode())
    names, captions = ("chosen/{}", "rejected/{}"), ("chosen/{}.txt", "rejected/{}.txt")
    beside.write(finished, folder, ABOUT, names, captions, of_one_kind=KINDS)


def _backends(finished: Finished) -> list[dict[str, Any]]:
    side = max(SMALLEST, min(finished.profile.width, finished.profile.height))
    common = {"type": "local", "caption_strategy": "textfile", "resolution": side, "resolution_type": "pixel"}
    return [
        {
            "id": "chosen",
            **common,
            "dataset_type": "image",
            "instance_data_dir": "train/chosen",
            "conditioning_data": ["rejected"],
        },
        {
            "id": "rejected",
            **common,
            "dataset_type": "conditioning",
            "conditioning_type": "reference_strict",
            "instance_data_dir": "train/rejected",
            "source_dataset_id": "chosen",
        },
        {"id": "texts", "type": "local", "dataset_type": "text_embeds", "default": True, "cache_dir": "cache/texts"},
    ]
