"""What was trained as a whole model: the pipeline that it was trained on, with it inside or beside.

The folder appears when it is whole. Raises TrainingError.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from datagen.weights.value_pipeline import FOLDERS
from training.errors import TrainingError, one_line
from training.inference.adapter import base_of, check_fits
from training.inference.sampling import attach_adapter, load_pipeline

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
BESIDE = (*FOLDERS, "pipeline.py")  # of a value encoder, which is no part of a stock pipeline


def save(adapter: Path, model: str, out: Path, precision: str) -> list[str]:
    """Write the diffusers folder `out`; what is to be said of it.

    A U-Net takes the model's place, LoRA is added to its weights; the folder of a value encoder lies beside the parts
    of the model, where `custom_pipeline=OUT` and `load_value_encoder(OUT)` find it.
    """
    base = base_of([adapter], model)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise TrainingError(f"{out} is there already: give a new or an empty folder as --out")
    pipe = load_pipeline(base.model, "cpu", base.revision)
    check_fits(pipe, adapter, base.model)
    notes = [base.note] if base.note else []
    steers = (adapter / FOLDERS[0]).is_dir()
    if not steers:
        attach_adapter(pipe, adapter)
        if getattr(pipe.unet, "peft_config", None):
            pipe.fuse_lora()
            pipe.unload_lora_weights()
    pipe.to(dtype=PRECISIONS[precision])
    _check_finite(pipe, precision)
    if getattr(pipe, "safety_checker", "none") is None:
        notes.append("the model is saved without a safety checker")
    staging = out.with_name(f".{out.name}.saving")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        pipe.save_pretrained(staging, safe_serialization=True)
        for name in (name for name in BESIDE if steers and (adapter / name).exists()):
            copy = shutil.copytree if (adapter / name).is_dir() else shutil.copy2
            copy(adapter / name, staging / name)
        if (adapter / "training.json").is_file():
            shutil.copy2(adapter / "training.json", staging / "training.json")
        if out.is_dir():
            out.rmdir()
        staging.replace(out)
    except Exception as error:  # a full disk has a kind of its own in each library
        raise TrainingError(f"{out} cannot be written: {one_line(error)}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return notes


def _check_finite(pipe: object, precision: str) -> None:
    """Raise TrainingError for weights that are not finite in this precision."""
    for name in ("unet", "vae", "text_encoder", "text_encoder_2"):
        part = getattr(pipe, name, None)
        bad = [key for key, weight in part.state_dict().items() if not weight.isfinite().all()] if part else []
        if bad:
            advice = "give --precision fp32" if precision != "fp32" else "train again with a lower --lr"
            raise TrainingError(
                f"{len(bad)} tensors of the {name} are not finite as {precision}, first {bad[0]}: {advice}"
            )
