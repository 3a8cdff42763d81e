"""Copies trained models into the package: safetensors in half precision, which every loader here widens again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from datagen.weights import pipelines


def pack(pipeline_folder: Path, clip_folder: Path, pipeline_out: Path, clip_out: Path) -> None:
    """Write the pipeline and the CLIP folder; replaces what was there."""
    pipeline = pipelines.load(pipeline_folder).model
    pipeline.unet.half()
    pipeline.vae.half()
    # transformers loads a text encoder in the precision of its file, so this one stays whole.
    pipeline.text_encoder.float()
    for folder in (pipeline_out, clip_out):
        if folder.exists():
            shutil.rmtree(folder)
    pipeline.save_pretrained(pipeline_out, safe_serialization=True)
    shutil.copytree(clip_folder, clip_out)
    for file in pipeline_out.rglob("*.json"):
        values = json.loads(file.read_text(encoding="utf-8-sig"))
        if values.pop("_name_or_path", None):  # the folder they were trained in stays private
            file.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
