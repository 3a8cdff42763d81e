"""The columns of the dataset: those of a pair with its pictures, without `split`, and what each of them holds."""

from __future__ import annotations

import json

import pyarrow as pa

from datagen.export.parts import pictured, tables

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
    "options": "JSON: what of the chosen image's sampling a stock pipeline does not do by itself, `{}` for nothing",
    "rejected_options": "the same of the rejected image",
}


def schema() -> pa.Schema:
    """The columns of the dataset, with the features that make images show."""
    # All nullable: where nullability differs from its own, `datasets` ignores the features and shows bytes.
    fields = [pa.field(field.name, field.type) for field in pictured.schema() if field.name != "split"]
    features = {
        field.name: {"_type": "Image"}
        if field.type == tables.PICTURE
        else {"dtype": dtype(field.type), "_type": "Value"}
        for field in fields
    }
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": features}})})


def dtype(arrow: pa.DataType) -> str:
    """The type of a column as the hub calls it."""
    return "float64" if pa.types.is_float64(arrow) else str(arrow)  # Arrow calls it double
