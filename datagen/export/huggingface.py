"""The pairs of a run as a Hugging Face dataset: Parquet files by split and a card, readable with no code of ours.

Files hold no times and no paths: equal runs give equal bytes. They carry the hash of the pairs they were made from, so
the dataset is made anew when those change and only then.
"""

from __future__ import annotations

import collections
import dataclasses
import html
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from datagen import records, store
from datagen.export import Finished
from datagen.labels import told
from datagen.recipe import FOUND, Profile

SPLITS = ("train", "test")
FILE_BYTES = 500_000_000  # what the hub recommends a file
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))

WHAT = """\
Pairs of images for preference training of text-to-image models (LiVO, MaPO, Diffusion-DPO). Both images of a row
belong to one context prompt; which one is preferred was labelled by models, not by people."""
LOADING = """\
```python
import datasets

pairs = datasets.load_dataset("parquet", data_dir="PATH OF THIS FOLDER")
```"""
SAFETY = """\
Where `kind` is `avoid`, the rejected images show on purpose what a model should not draw: train away from them, and do
not publish them unmarked. The labels are automatic: `probability` says how sure the judges are."""

LABELS = """\
`probability` was learnt from this run alone, without a label of people: what an image was drawn from is a noisy label
whose errors have another source than the judges' errors. `judges_only` leaves that out; `low` to `high` is the 90 %
interval of `probability`. "How often right" is each judge's reliability as the run shows it."""

LABELS_OF_LISTS = """\
`probability` was learnt from these images alone: how far each judge is to be believed was read off pairs whose better
image is known beforehand or, where there were none, off what the judges agree in. `judges_only` is the same; `low` to
`high` is its 90 % interval. "How often right" is each judge's reliability as these images show it."""

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
kept; `datagen replay FOLDER ID` draws the very same ones. Files are lossless but for JPEG, where `software` says that
they are such. They depend on the shape of a batch, not on what else is in it, so the same image `batch_size` times is
enough. Rows without `scheduler` are of a generator that is not of diffusers. On a CPU, images of up to 128×128 were
drawn with one thread, larger ones with all. An empty negative prompt is none: the pipeline then puts in its place what
`empty_negative` names, the empty text encoded (`text`) or `zeros`. It reads no negative prompt at guidance 1 and less,
and no more of any text than fits its tokenizer: `chosen_unread` and `rejected_unread` count the tokens left out.'''
POOLS = """\
Rows of one `pool` are of one scene, which is one prompt: {aligned} images of its aligned wording against {violating}
of its violating one, without those that no judge could read or that do not show their own wording. Row k sets the k-th
aligned image against the k-th violating one in the order of a hash of (recipe seed, image id); the smaller set begins
again at its end, so that each image is in a row. `probability` is that of the stated pair. LiVO draws another
violating image of the pool at every access, and so does `training/run.py --method livo` (docs/training-data.md)."""

COLUMNS = {
    "pair_id": "content hash of the pair",
    "prompt": "the context prompt; what a trainer conditions on",
    "principle": "the value principle as text; several of one prompt are separated by semicolons",
    "category": "the principle's category",
    "kind": "`avoid` (rejected shows the harm), `balance` (chosen shows what the model under-represents) or `prefer`",
    "chosen": "the preferred image, a WebP without loss, or a PNG or JPEG where the recipe says so",
    "rejected": "the dispreferred image, likewise",
    "chosen_prompt": "the text that the chosen image was drawn from",
    "rejected_prompt": "the text that the rejected image was drawn from",
    "probability": "probability that the label is right, by all evidence: the judges and what was drawn from what",
    "margin": "the same as log-odds",
    "scores": "JSON: judge → image → axis → value",
    "seed_chosen": "seed of the chosen image",
    "seed_rejected": "seed of the rejected image",
    "generator": "the model that drew the chosen image",
    "generator_revision": "its revision, or a hash of its weights",
    "steps": "denoising steps",
    "guidance": "guidance scale",
    "scheduler": "sampler of the chosen image, a class of diffusers",
    "recipe": "name of the recipe",
    "license": "licence of the images",
    "prompt_id": "content hash of the prompt",
    "role": "`neutral`, `asked` (the prompt asks for the violation), `control` (near it, breaks nothing) or "
    "`conflict` (its principles cannot all hold; the first goes before)",
    "rejected_generator": "the model that drew the rejected image",
    "rejected_generator_revision": "its revision, or a hash of its weights",
    "chosen_negative_prompt": "negative prompt of the chosen image",
    "rejected_negative_prompt": "negative prompt of the rejected image",
    "width": "of both images, in pixels; 0 where they differ",
    "height": "of both images, in pixels; 0 where they differ",
    "scheduler_config": "JSON: the settings of the scheduler, all of them",
    "rejected_scheduler": "sampler of the rejected image",
    "rejected_scheduler_config": "its settings, as `scheduler_config`",
    "adapter": "what the generator of the chosen image was adapted with, empty for nothing",
    "rejected_adapter": "what that of the rejected image was adapted with",
    "dtype": "type of the weights, as torch calls it",
    "batch_size": "images in the batch that each image was drawn in",
    "software": "libraries and device that drew the images, and what made files of them",
    "pool": "the scene whose violating images may stand for one another; empty where the pair stands for itself",
    "empty_negative": "what an empty negative prompt is in the chosen image: the encoded empty `text`, or `zeros`",
    "rejected_empty_negative": "what it is in the rejected image",
    "vae": "NAME@REVISION of the VAE that decoded the chosen image, empty for the generator's own",
    "rejected_vae": "that of the rejected image",
    "chosen_unread": "tokens of the chosen image's wording and negative prompt that the model did not read",
    "rejected_unread": "tokens of the rejected image's",
    "low": "lower end of the 90 % interval of `probability`",
    "high": "its upper end",
    "judges_only": "the same probability by the judges alone, without what the images were drawn from",
}


def schema() -> pa.Schema:
    """The columns of the dataset: those of `Pair` without `split`, with the features that make images show."""
    # All nullable: where nullability differs from its own, `datasets` ignores the features and shows bytes.
    picture = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    fields = [
        pa.field(field.name, picture if pa.types.is_struct(field.type) else field.type)
        for field in records.schema(records.Pair)
        if field.name != "split"
    ]
    features = {
        field.name: {"_type": "Image"}
        if pa.types.is_struct(field.type)
        else {"dtype": _dtype(field.type), "_type": "Value"}
        for field in fields
    }
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": features}})})


def export(finished: Finished, folder: Path) -> None:
    """Write the dataset into an empty folder. Raises RunError if the disk refuses."""
    facts = _gather(finished.run, finished.shards)
    for split in _written(facts.splits):
        _write_split(finished, split, folder / "data")
        facts.sizes[split] = sum(path.stat().st_size for path in folder.glob(f"data/{split}-*"))
    card = _card(finished, facts)
    store.write_file(folder / "README.md", lambda file: file.write(card.encode()))


def stamp(dataset: Path) -> str | None:
    """The hash of the pairs that a dataset was written from; None if there is none, or not a whole one."""
    try:
        first = min(dataset.glob("data/train-*.parquet"))
        made_from: str = json.loads(pq.read_metadata(first).metadata[b"datagen"])["pairs"]
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        return None
    return made_from if (dataset / "README.md").exists() else None


def splits(dataset: Path) -> dict[str, int]:
    """Rows by split of a written dataset, from its footers."""
    return {
        split: sum(pq.read_metadata(path).num_rows for path in dataset.glob(f"data/{split}-*.parquet"))
        for split in SPLITS
    }


@dataclasses.dataclass
class _Facts:
    """What the card tells, gathered in one pass that reads no image."""

    splits: collections.Counter[str]
    principles: collections.Counter[tuple[str, str, str]]  # statement, category, kind
    generators: set[str]
    judges: set[str]
    sizes: dict[str, int]  # bytes by split, known once its files are written
    empty_negatives: set[str]


def _gather(run: store.Run, shards: int) -> _Facts:
    facts = _Facts(collections.Counter(), collections.Counter(), set(), set(), {}, set())
    columns = ["split", "principle", "category", "kind", "generator", "generator_revision"]
    negatives = ["empty_negative", "rejected_empty_negative"]
    for index in range(shards):
        for row in run.table("pairs", index, [*columns, *negatives]).to_pylist():
            facts.empty_negatives |= {row[name] for name in negatives if row[name]}
            facts.splits[row["split"]] += 1
            facts.principles[(row["principle"], row["category"], row["kind"])] += 1
            facts.generators.add(" at ".join(filter(None, (row["generator"], row["generator_revision"]))))
        judged = run.table("scores", index, ["judge", "judge_version"]).group_by(["judge", "judge_version"])
        facts.judges.update(f"{row['judge']} {row['judge_version']}" for row in judged.aggregate([]).to_pylist())
    return facts


def _written(counts: collections.Counter[str]) -> list[str]:
    """The splits that get a file: those with rows, and train even when every pair was dropped."""
    return [split for split in SPLITS if counts[split] or split == "train"]


def _write_split(finished: Finished, split: str, folder: Path) -> None:
    """Write one split's files, whole row groups of up to FILE_BYTES; two of them are in memory."""
    made_from = {"pairs": finished.content, **({"control": finished.control} if finished.control else {})}
    metadata = {**schema().metadata, b"datagen": json.dumps(made_from).encode()}
    target = schema().with_metadata(metadata)
    groups = _Ahead(store.row_groups(_tables(finished.run, finished.shards, split, target)))
    name = f"{split}-control-{finished.control}" if finished.control else split

    def fill(file: Any) -> None:
        with store.parquet_writer(file, target) as writer:
            writer.write_table(groups.take())
            while groups.next is not None and file.tell() + groups.next.nbytes <= FILE_BYTES:
                writer.write_table(groups.take())

    written: list[Path] = []
    while groups.next is not None:
        written.append(folder / f"{name}-{len(written):05d}.parquet")
        store.write_file(written[-1], fill)
    for path in written:  # how many they are is known now
        path.rename(path.with_name(f"{path.stem}-of-{len(written):05d}.parquet"))


class _Ahead:
    """Tables of which the next can be looked at; None when there are no more."""

    def __init__(self, tables: Iterator[pa.Table]) -> None:
        self._tables = tables
        self.next: pa.Table | None = next(tables, None)

    def take(self) -> pa.Table:
        table, self.next = self.next, next(self._tables, None)
        return table


def _tables(run: store.Run, shards: int, split: str, target: pa.Schema) -> Iterator[pa.Table]:
    """The rows of one split in order, in tables of at most a row group; one without rows first."""
    yield target.empty_table()
    for index in range(shards):
        for table in run.tables("pairs", index):
            yield table.filter(pc.equal(table["split"], split)).select(target.names).cast(target)


def _dtype(arrow: pa.DataType) -> str:
    return "float64" if pa.types.is_float64(arrow) else str(arrow)  # Arrow calls it double


def _card(finished: Finished, facts: _Facts) -> str:
    """The README of the dataset: YAML for the hub, then text for people. No times, so equal runs give equal cards."""
    return f"---\n{_yaml(finished, facts)}---\n\n{_text(finished, facts)}"


def _title(finished: Finished) -> str:
    named = finished.recipe.name
    return f"CONTROL ARM, {finished.control} labels: {named}" if finished.control else named


def _yaml(finished: Finished, facts: _Facts) -> str:
    recipe, profile = finished.recipe, finished.profile
    rows = facts.splits.total()
    size = next((name for limit, name in SIZES if rows < limit), "n>1M")
    tags = ["preference", "image-preference", "synthetic", "dpo", "datagen", recipe.name]
    tags += ["control-arm"] * bool(finished.control)
    if profile.model != "embedded" and any(kind == "avoid" for _, _, kind in facts.principles):
        tags.append("not-for-all-audiences")
    lines = [
        f"pretty_name: {json.dumps(_title(finished))}",
        f"license: {json.dumps(recipe.license_of(profile))}",
        "language:\n- en",
        "task_categories:\n- text-to-image",
        "tags:",
        *(f"- {json.dumps(tag)}" for tag in tags),
        f"size_categories:\n- {size}",
        "dataset_info:\n  features:",
    ]
    for field in schema():
        kind = "image" if pa.types.is_struct(field.type) else _dtype(field.type)
        lines.append(f"  - name: {field.name}\n    dtype: {kind}")
    lines.append("  splits:")
    for split in _written(facts.splits):
        lines.append(
            f"  - name: {split}\n    num_examples: {facts.splits[split]}\n    num_bytes: {facts.sizes[split]}"
        )
    lines.append("configs:\n- config_name: default\n  data_files:")
    lines += [f"  - split: {split}\n    path: data/{split}-*" for split in _written(facts.splits)]
    return "\n".join(lines) + "\n"


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} × {_cell(what)}" for what, count in counts.items()) or "none"


def _sampling(profile: Profile, facts: _Facts) -> str:
    """How images were drawn, and what stood for an empty negative prompt."""
    how = (
        f"{profile.scheduler}, {profile.steps} steps, guidance {profile.guidance:g}, {profile.width}×{profile.height}"
    )
    negative = f", an empty negative prompt is {' or '.join(sorted(facts.empty_negatives))}"
    return how + (negative if facts.empty_negatives else "")


def _text(finished: Finished, facts: _Facts) -> str:
    recipe, profile = finished.recipe, finished.profile
    principles = [
        f"| {_cell(statement)} | {_cell(category)} | {kind} | {count} |"
        for (statement, category, kind), count in sorted(facts.principles.items())
    ]
    made = {
        "recipe": f"`{recipe.name}`, seed {recipe.seed}, pairing `{recipe.pairing}`",
        **(
            {"images": "found, not drawn here: what drew them is not known, and each has its own file unchanged"}
            if profile.model == FOUND
            else {
                "generator": ", ".join(sorted(facts.generators)) or profile.model,
                "sampling": _sampling(profile, facts),
            }
        ),
        "judges": ", ".join(sorted(facts.judges)) or ", ".join(judge.name for judge in profile.judges),
        "kept": f"pairs of probability {recipe.labels.min_probability:g} and more, "
        f"match {recipe.labels.min_match:g} and more",
        "dropped": _counted(finished.drops),
        "remarks on images": _counted(finished.remarks),
    }
    return "\n".join(
        [
            f"# {_title(finished)}\n",
            *([f"**{CONTROL[finished.control]} {KEPT}**\n"] if finished.control else []),
            *([f"{_cell(recipe.description)}\n"] if recipe.description else []),
            f"{WHAT}\n",
            f"{facts.splits['train']} pairs to train on, {facts.splits['test']} to test on; no prompt is in both.\n",
            f"{LOADING}\n",
            "## How it was made\n",
            *(f"- {what}: {how}" for what, how in made.items()),
            *([f"\n## Pools\n\n{POOLS.format(**recipe.images.model_dump())}"] if recipe.pairing == "pool" else []),
            *_learnt(finished.learnt, LABELS_OF_LISTS if recipe.pairing == "list" else LABELS),
            "\n## Principles\n",
            "| principle | category | kind | pairs |\n|---|---|---|---|",
            *principles,
            "\n## Columns\n",
            "| column | what it holds |\n|---|---|",
            *(f"| `{name}` | {COLUMNS[name]} |" for name in schema().names),
            *(["\n## How to draw a row again\n", REDRAWING] if profile.model != FOUND else []),
            "\n## Safety\n",
            SAFETY,
            "",
        ]
    )


def _learnt(facts: dict[str, Any], how: str) -> list[str]:
    """How far the labels can be trusted, as the run itself shows it; `how` they were learnt."""
    found = told.lines(facts)
    return ["\n## Labels\n", how, "", *(f"- {_cell(line)}" for line in found)] if found else []


def _cell(text: str) -> str:
    """Text of any origin made harmless in a Markdown table cell."""
    return html.escape(" ".join(text.split()), quote=False).replace("|", "&#124;").replace("`", "&#96;")
