"""The peers' own scripts, run as they are from a clone that the user has: seconds a step on our tiny models and pairs.

A second opinion on `benchmarks/support/peers.py`, by the clock and not interleaved. Nothing is changed but flags: no
half precision (their fp16 needs a GPU), plain AdamW, batch and resolution of the benchmark.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.support import arms, tiny
from datagen.images.decode import decode

STEPS = 9  # the first two are not counted
COMMON = (
    f"--resolution={tiny.RESOLUTION} --train_batch_size={arms.BATCH} --max_train_steps={STEPS} "
    "--lr_scheduler=constant --learning_rate=1e-6 --gradient_checkpointing --mixed_precision=no "
    "--report_to=tensorboard --seed=0"
).split()


def measure(checkout: Path, work: Path, scratch: Path) -> Iterator[tuple[str, float]]:
    """Name and seconds a step of each script of ours that the clone holds."""
    for name, script, shape, flags in scripts(checkout.resolve(), work.resolve(), scratch):
        command = [sys.executable, str(script), f"--pretrained_model_name_or_path={work.resolve() / shape}"]
        command += [f"--output_dir={scratch / name}", *COMMON, *flags]
        yield name, seconds(command, script.parent, scratch)


def scripts(checkout: Path, work: Path, scratch: Path) -> Iterator[tuple[str, Path, str, list[str]]]:
    """Name, script, shape of model and own flags; the data set is written in the schema that the script reads."""
    diffusers = checkout / "examples" / "research_projects" / "diffusion_dpo"
    if (checkout / "value_encoder" / "train.py").is_file():
        folders = livo_folders(work, scratch / "livo")
        flags = [f"--train_data_dir={folders}", "--center_crop", "--random_flip"]
        flags += "--livo_beta=1000 --livo_alpha=500 --livo_gamma_1=1 --livo_gamma_2=0.5".split()
        yield "livo", checkout / "value_encoder" / "train.py", "sd15", flags
    elif (checkout / "train_with_lora.py").is_file():
        yield "mapo", checkout / "train.py", "sdxl", pick_a_pic(work, scratch / "mapo-data")
    elif diffusers.is_dir():
        flags = [*pick_a_pic(work, scratch / "dpo-data"), "--rank=8"]
        yield "dpo-lora-sd15", diffusers / "train_diffusion_dpo.py", "sd15", flags
        yield "dpo-lora-sdxl", diffusers / "train_diffusion_dpo_sdxl.py", "sdxl", flags
    else:
        sys.exit(f"error: {checkout} is not a clone of mapo-t2i/mapo, achernarwang/LiVO or huggingface/diffusers")


def pick_a_pic(work: Path, folder: Path) -> list[str]:
    """The pairs under Pick-a-Pic's column names, and the flags that name them."""
    rows = arms.rows(work)
    won = [1] * len(rows)
    columns = {"caption": rows.prompts, "jpg_0": rows.chosen, "jpg_1": rows.rejected, "label_0": won}
    folder.mkdir()
    table = pa.table({**columns, "label_1": [0] * len(rows)})
    pq.write_table(table, folder / "train-00000-of-00001.parquet")
    return [f"--dataset_name={folder}", "--dataset_split_name=train"]


def livo_folders(work: Path, root: Path) -> Path:
    """The pairs in LiVO's layout: <type>/<scene>/metadata.jsonl beside the images."""
    rows = arms.rows(work)
    scene = root / "0-hazard" / "park"
    scene.mkdir(parents=True)
    lines = []
    for label, images in ((1, rows.chosen), (0, rows.rejected)):
        for i, encoded in enumerate(images):
            name = f"{label}-{i}.png"
            decode(encoded).save(scene / name, compress_level=1)
            line = {"file_name": name, "label": label, "prompt": rows.prompts[i], "value": rows.principles[i]}
            lines.append(json.dumps(line))
    (scene / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    return root


def seconds(command: list[str], folder: Path, scratch: Path) -> float:
    """The median time between the steps that the script's own progress bar counts."""
    stubs = scratch / "stubs"
    stubs.mkdir(exist_ok=True)
    (stubs / "wandb.py").write_text("run = None\n")  # imported by MaPO's script, and not used here
    paths = os.pathsep.join([str(stubs), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    seen: dict[int, float] = {}
    text = ""
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as child:
        assert child.stderr is not None
        while part := os.read(child.stderr.fileno(), 4096):
            text += part.decode(errors="replace")
            for step in re.findall(rf"Steps:.*?(\d+)/{STEPS}", text[-4096:]):
                seen.setdefault(int(step), time.perf_counter())
    if child.returncode or STEPS not in seen:
        sys.exit(f"error: {' '.join(command[1:3])} … ended with {child.returncode}:\n{text[-2000:]}")
    moments = [seen[step] for step in range(2, STEPS + 1) if step in seen]
    return statistics.median(b - a for a, b in zip(moments, moments[1:], strict=False))
