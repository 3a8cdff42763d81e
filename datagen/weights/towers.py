"""Whether two files hold the same CLIP: the vision tower of a transformers checkpoint against open_clip's own file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from datagen.errors import ModelError
from datagen.weights import files, parts

# open_clip's names → transformers', of what a tower has once and of what each layer has.
_ONCE = {
    "visual.proj": "visual_projection.weight",  # turned
    "visual.class_embedding": "embeddings.class_embedding",
    "visual.conv1.weight": "embeddings.patch_embedding.weight",
    "visual.positional_embedding": "embeddings.position_embedding.weight",
    "visual.ln_pre": "pre_layrnorm",
    "visual.ln_post": "post_layernorm",
}
_LAYER = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
_BLOCK = re.compile(r"visual\.transformer\.resblocks\.(?P<layer>\d+)\.(?P<module>.+?)[._](?P<kind>weight|bias)")


def check_same(folder: Path, ours: Path) -> None:
    """Raise ModelError unless the vision tower of a transformers folder is that of an open_clip file.

    Exactly, in the lower precision of the two.
    """
    theirs: dict[str, Any] = {}
    for path in files.find(folder).paths:
        # The tower stands one or two levels deep, as the version of transformers has it.
        theirs |= {re.sub(r"^(vision_model\.)+", "", name): value for name, value in parts.tensors(path).items()}
    tower = {name: value for name, value in parts.tensors(ours).items() if name.startswith("visual.")}
    other = [name for name, value in tower.items() if not _equal(value, _counterpart(name, theirs))]
    layers = {match["layer"] for name in tower if (match := _BLOCK.match(name))}
    more = {name for name in theirs if (m := re.match(r"encoder\.layers\.(\d+)\.", name)) and m[1] not in layers}
    if other or more or not tower:
        raise ModelError(
            f"the CLIP in {folder} is not the one in {ours.name}: {len(other)} of {len(tower)} tensors of its vision "
            f"tower differ ({files.named(other or more)}), so that the embeddings of the one do not serve the other"
        )


def _counterpart(name: str, theirs: dict[str, Any]) -> Any:
    """The tensor of transformers' that has the place of one of open_clip's; None if there is none."""
    import torch

    if match := _BLOCK.fullmatch(name):
        layer, kind = f"encoder.layers.{match['layer']}", match["kind"]
        if match["module"] == "attn.in_proj":
            names = [f"{layer}.self_attn.{part}_proj.{kind}" for part in "qkv"]
            return torch.cat([theirs[one] for one in names]) if theirs.keys() >= set(names) else None
        return theirs.get(f"{layer}.{_LAYER.get(match['module'], '')}.{kind}")
    stem, _, kind = name.rpartition(".")
    found = theirs.get(_ONCE[name] if name in _ONCE else f"{_ONCE.get(stem, '')}.{kind}")
    return found.T if found is not None and name == "visual.proj" else found


def _equal(one: Any, other: Any) -> bool:
    import torch

    if other is None or one.shape != other.shape:
        return False
    lower = min((one.dtype, other.dtype), key=lambda dtype: dtype.itemsize)
    return torch.equal(one.to(lower), other.to(lower))
