"""What the card says of every dataset, whatever is in it."""

from __future__ import annotations

WHAT = """\
Pairs of images for preference training of text-to-image models (LiVO, MaPO, Diffusion-DPO). Both images of a row
belong to one context prompt; which one is preferred was labelled by models, not by people."""
LOADING = """\
```python
import datasets

pairs = datasets.load_dataset("parquet", data_dir="PATH OF THIS FOLDER")
```"""
HARM = """\
This data may hold harmful content: where `kind` is `avoid`, the rejected images show on purpose what a model should
not draw. Train away from them, and do not publish them unmarked. Sexual content involving minors is refused at every
step."""
SAFETY = f"{HARM} The labels are automatic: `probability` says how sure the judges are."

LIMITS = """\
Labels were learnt from models, which share errors: where several judges see with the same network, they may be wrong
together. Prompts are in English and follow the recipe's principles, so that counts by category say what was asked for
and not what people ask. Who did not draw these pictures themselves cannot tell from them how a model draws in general.
`datagen audit` says of a run more than stands here: of each judge, leaks between splits, and near-duplicates."""

LABELS = """\
`probability` was learnt from this run alone, without a label of people: what an image was drawn from is a noisy label
whose errors have another source than the judges' errors. `judges_only` leaves that out; `low` to `high` is the 90 %
interval of `probability`. "How often right" is each judge's reliability as the run shows it."""

LABELS_OF_LISTS = """\
`probability` was learnt from these images alone: how far each judge is to be believed was read off pairs whose better
image is known beforehand or, where there were none, off what the judges agree in. `judges_only` is the same; `low` to
`high` is its 90 % interval. "How often right" is each judge's reliability as these images show it."""

NEGATIVE = (
    "of two wordings of which neither keeps the principle better, drawn and judged to see what judges see of wordings "
    "themselves; none of them is in this dataset"
)
CONTROL = {
    "random": "These labels are wrong on purpose: half of the pairs, drawn at random, have chosen and rejected "
    "exchanged, so that the labels say nothing.",
    "swapped": "These labels are wrong on purpose: every pair has chosen and rejected exchanged.",
}
KEPT = (
    "It is a control: what a training reaches with it, it does not owe to the labels. All that belongs to an image "
    "went with it; `probability` and `margin` are those of the real label, so that a trainer weighs the pairs alike."
)

REDRAWING = '''\
Each image follows from its row. `model` is where its generator lies: a folder, or the hub id that `generator` (for the
rejected image `rejected_generator`) names; `embedded` is the folder `datagen/world/weights/pipeline` of the package.

```python
import json, diffusers, torch

def draw(row, side, model, vae=None):
    """The image of a side, "chosen" or "rejected"; `vae` is where the one of its row lies, if that names one."""
    own, count = "rejected_" * (side == "rejected"), row["batch_size"]
    pipe = diffusers.DiffusionPipeline.from_pretrained(
        model, revision=row[f"{own}generator_revision"], dtype=getattr(torch, row["dtype"]),
        safety_checker=None, add_watermarker=False,
    ).to("cpu" if "on cpu" in row["software"] else "cuda")
    if row[f"{own}vae"]:
        pipe.vae = diffusers.AutoencoderKL.from_pretrained(vae, dtype=pipe.vae.dtype).to(pipe.device)
    scheduler = getattr(diffusers, row[f"{own}scheduler"])
    pipe.scheduler = scheduler.from_config(json.loads(row[f"{own}scheduler_config"]))
    if row["width"] * row["height"] <= 128 * 128:
        torch.set_num_threads(1)
    return pipe(
        [row[f"{side}_prompt"]] * count,
        negative_prompt=[negative] * count if (negative := row[f"{side}_negative_prompt"]) else None,
        generator=[torch.Generator("cpu").manual_seed(row[f"seed_{side}"]) for _ in range(count)],
        num_inference_steps=row["steps"], guidance_scale=row["guidance"], width=row["width"], height=row["height"],
    ).images[0]
```

With the libraries and on the device that `software` names, stock pipelines come within 2 of 255 of the pixels that are
kept where `options` is `{}`: it names what else was done, such as long prompts read in windows. `datagen replay FOLDER
ID` draws the very same ones. Files are lossless but for JPEG, where `software` says that they are such. They depend on
the shape of a batch, not on what else is in it, so the same image `batch_size` times is enough. Rows without
`scheduler` are of a generator that is not of diffusers. On a CPU, images of up to 128×128 were drawn with one thread,
larger ones with all. An empty negative prompt is none: the pipeline then puts in its place what `empty_negative`
names, the empty text encoded (`text`) or `zeros`. It reads no negative prompt at guidance 1 and less, and no more of
any text than fits its tokenizer: `chosen_unread` and `rejected_unread` count the tokens left out.'''
POOLS = """\
Rows of one `pool` are of one scene, which is one prompt: {aligned} images of its aligned wording against {violating}
of its violating one, without those that no judge could read or that do not show their own wording. Row k sets the k-th
aligned image against the k-th violating one in the order of a hash of (recipe seed, image id); the smaller set begins
again at its end, so that each image is in a row. `probability` is that of the stated pair. LiVO draws another
violating image of the pool at every access, and so does `training/run.py --method livo` (docs/training-data.md)."""
