"""What is put into a pipeline that is loaded: LoRA files, and a U-Net in place of its own.

diffusers takes the tensors of a LoRA file that it knows and says nothing of the others; here every tensor must have
found its layer, and every layer that is to have an adapter its tensors.
"""

from __future__ import annotations

import dataclasses
import math
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datagen.errors import ModelError, one_line
from datagen.weights import files, fit, parts

LORA = "pytorch_lora_weights.safetensors"  # as diffusers calls it
_PARTS = ("unet", "text_encoder", "text_encoder_2")
_HALF = re.compile(r"(?P<layer>.+)\.lora_(?P<half>[AB])\.weight")


@dataclasses.dataclass(frozen=True)
class Fitting:
    """A LoRA file that fits a pipeline: shapes of all its halves by "part.layer.A" and ".B", its alphas by ".A"."""

    path: Path
    halves: dict[str, tuple[int, ...]]
    alphas: dict[str, float]


def fitting(pipe: Any, path: Path) -> Fitting:
    """The LoRA of a file, or of a folder that diffusers saved it to, held against a pipeline, which needs no weights.

    Raises ModelError, one line: for tensors that have no place in this pipeline, layers of another shape, adapters
    whose halves or layers are missing, NaN.
    """
    path = path / LORA if path.is_dir() else path
    if path.suffix in files.PICKLES:
        raise ModelError(f"{path} is a pickle, which can run code and is not read: save it as safetensors")
    if scaled := [name for name in files.Files((path,)).entries() if "dora_scale" in name]:
        raise ModelError(f"{path} is a DoRA ({files.named(scaled)}), which diffusers reads only in part: give a LoRA")
    parts.quiet()
    tensors, alphas, metadata = _halves(pipe, path)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    wanted = _wanted(pipe, shapes, metadata)
    what = f"the LoRA in {path} ({_described(shapes)})"
    remedy = f"give one that was trained on this model{_other_width(pipe, shapes)}"
    fit.check(what, fit.compare(wanted, shapes), remedy=remedy)
    broken = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    if broken:
        raise ModelError(f"{path} holds NaN or infinite numbers: {len(broken)} tensors ({files.named(broken)})")
    return Fitting(path, wanted, alphas)


def load_lora(pipe: Any, path: Path) -> tuple[str, ...]:
    """Put a LoRA into the pipeline; gives notes. Raises ModelError as `fitting` does."""
    held = fitting(pipe, path)
    path, layers = held.path, {layer for part, layer, _ in _layers(pipe) if part == "unet"}
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The following alpha_pattern keys")  # see _set_scales
            pipe.load_lora_weights(str(path.parent), **_place(path))
    except Exception as error:
        raise ModelError(f"{path} does not go into {type(pipe).__name__}: {one_line(error)}") from error
    _check_taken(pipe, path, len(held.halves))
    adapted = {layer for layer in layers if f"unet.{layer}.A" in held.halves}
    return _notes(path, layers, adapted) + _set_scales(pipe, path, held.alphas)


def read_lora(pipe: Any, path: Path) -> tuple[dict[str, tuple[Any, Any]], tuple[str, ...]]:
    """What a LoRA file says of a pipeline's U-Net, which stays as it is; and notes.

    By the layer's name its factors in float32, (rank, in) and (out, rank), with alpha / rank multiplied into the
    second. Raises ModelError as `load_lora` does, and for a LoRA that is of text encoders, too.
    """
    path = path / LORA if path.is_dir() else path
    notes = load_lora(pipe, path)
    # The scale as it is where it was put in; the tensors as they are in the file, whatever the U-Net's precision.
    adapted = [(name, layer) for name, layer in pipe.unet.named_modules() if hasattr(layer, "lora_A")]
    scales = {name: next(iter(layer.scaling.values())) for name, layer in adapted}
    pipe.unload_lora_weights()
    tensors, *_ = _halves(pipe, path)
    if others := [name.removesuffix(".A") for name in tensors if name.endswith(".A") and not name.startswith("unet.")]:
        raise ModelError(
            f"{path} holds LoRA of {len(others)} layers of text encoders, too ({files.named(others)}): give one of "
            "the U-Net alone"
        )
    whole = {name.removeprefix("unet."): tensor.float() for name, tensor in tensors.items()}
    return {name: (whole[f"{name}.A"], whole[f"{name}.B"] * scale) for name, scale in scales.items()}, notes


def fuse_lora(pipe: Any, path: Path, strength: float = 1.0) -> tuple[str, ...]:
    """Add the LoRA of a file or folder to the pipeline's own weights, `strength` times; gives notes.

    The sum is taken in float32, and kept in what the network computes in. Raises ModelError as `load_lora` does.
    """
    path = path / LORA if path.is_dir() else path
    notes = load_lora(pipe, path)
    scales = {
        f"{part}.{name.removeprefix('text_model.')}": next(iter(layer.scaling.values()))
        for part in _PARTS
        if (network := getattr(pipe, part, None)) is not None
        for name, layer in network.named_modules()
        if hasattr(layer, "lora_A")
    }
    pipe.unload_lora_weights()
    tensors, *_ = _halves(pipe, path)
    for part, layer, module in _layers(pipe):
        name = f"{part}.{layer.removeprefix('text_model.')}"
        if name in scales:
            dtype = getattr(pipe, part).dtype
            _add(module, tensors[f"{name}.A"], tensors[f"{name}.B"], strength * scales[name], dtype)
    return notes


def _add(layer: Any, first: Any, second: Any, scale: float, dtype: Any) -> None:
    """W + scale · B A, for matrices and for convolutions of which B has one pixel."""
    import torch

    change = (second.flatten(1).float() @ first.flatten(1).float()).view(layer.weight.shape) * scale
    layer.weight = torch.nn.Parameter((layer.weight.data.float() + change).to(dtype), requires_grad=False)


def check_unet(pipe: Any, folder: Path) -> None:
    """Raise ModelError for a U-Net of other shapes than a pipeline's, which needs no weights."""
    ours = {name: tuple(value.shape) for name, value in pipe.unet.state_dict().items()}
    theirs = {name: entry.shape for name, entry in files.find(folder).entries().items()}
    differences = fit.compare(ours, theirs)
    if differences.misshapen or len(differences.missing) > len(ours) // 2:
        fit.check(f"the U-Net in {folder}", differences, remedy="give one that was trained on this model")


def load_unet(pipe: Any, folder: Path) -> Any:
    """The U-Net of a folder for a pipeline that has one of the same shapes. Raises ModelError before it is read."""
    import diffusers

    check_unet(pipe, folder)
    loaded = parts.load(diffusers.UNet2DConditionModel, folder, dtype=pipe.unet.dtype)
    return loaded.model.to(pipe.unet.device)


def _described(shapes: dict[str, tuple[int, ...]]) -> str:
    """What a LoRA is by its tensors: its rank, and the layers that it adapts."""
    halves = {name.removesuffix(".A"): shape[0] for name, shape in shapes.items() if name.endswith(".A")}
    if not halves:
        return "without a pair of halves"
    low, high = min(halves.values()), max(halves.values())
    layers = "1 layer" if len(halves) == 1 else f"{len(halves)} layers"
    kinds = files.named(sorted({_kind(layer) for layer in halves}))
    return f"rank {low if low == high else f'{low} to {high}'}, {layers}: {kinds}"


def _other_width(pipe: Any, shapes: dict[str, tuple[int, ...]]) -> str:
    """How wide the texts are that a LoRA's base reads, where this model's are not: that tells families apart."""
    own = pipe.unet.config.cross_attention_dim
    theirs = {shape[1] for name, shape in shapes.items() if name.endswith(".attn2.to_k.A") and len(shape) == 2}
    if len(theirs) != 1 or not isinstance(own, int) or own in theirs:
        return ""
    families = {768: " (Stable Diffusion 1.5)", 1024: " (Stable Diffusion 2)", 2048: " (SDXL)"}
    (width,) = theirs
    return f": its texts are {width} wide{families.get(width, '')}, this model's {own}{families.get(own, '')}"


def _place(path: Path) -> dict[str, Any]:
    return {"weight_name": path.name, "use_safetensors": True, "local_files_only": True}


def _halves(pipe: Any, path: Path) -> tuple[dict[str, Any], dict[str, float], dict[str, Any]]:
    """The tensors of a LoRA file by "part.layer.A" and ".B", alphas by ".A", what it says of itself. ModelError."""
    names = {"unet_config": pipe.unet.config} if getattr(pipe, "text_encoder_2", None) is not None else {}
    try:
        tensors, alphas, metadata = pipe.lora_state_dict(
            str(path.parent), return_lora_metadata=True, **_place(path), **names
        )
        named = {name.removesuffix(".alpha"): alpha for name, alpha in (alphas or {}).items()}
        named = {n if n.endswith(".weight") else f"{n}.lora.down.weight": alpha for n, alpha in named.items()}
        # By the names of all tensors: of some alone, diffusers takes the kind of names for another.
        layers = {name: layer for layer, name in _by_layer({name: name for name in tensors}).items()}
        return _by_layer(tensors), {layers[name]: alpha for name, alpha in named.items()}, dict(metadata or {})
    except Exception as error:  # diffusers raises many kinds for names that it does not know
        raise ModelError(f"{path} holds no LoRA that diffusers reads: {one_line(error)}") from error


def _by_layer(tensors: dict[str, Any]) -> dict[str, Any]:
    """The tensors by "part.layer.A" and ".B"; a name of another form stays what it is."""
    from diffusers.utils.state_dict_utils import convert_state_dict_to_peft, convert_unet_state_dict_to_peft

    found = {}
    for part in _PARTS:
        own = {name: value for name, value in tensors.items() if name.startswith(f"{part}.")}
        # One file may have peft's names for some layers and diffusers' own for others.
        old = {name: value for name, value in own.items() if ".lora_A." not in name and ".lora_B." not in name}
        convert = convert_unet_state_dict_to_peft if part == "unet" else convert_state_dict_to_peft
        converted = {name: value for name, value in own.items() if name not in old} | (convert(old) if old else {})
        for name, value in converted.items():
            match = _HALF.fullmatch(name.replace(f"{part}.text_model.", f"{part}."))
            found[f"{match['layer']}.{match['half']}" if match else name] = value
    claimed = tuple(f"{part}." for part in _PARTS)
    return found | {name: value for name, value in tensors.items() if not name.startswith(claimed)}


def _wanted(pipe: Any, shapes: dict[str, tuple[int, ...]], metadata: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """The shapes that a file must have: of both halves of each layer that it names or, by its metadata, adapts."""
    wanted: dict[str, tuple[int, ...]] = {}
    for part, layer, module in _layers(pipe):
        name = f"{part}.{layer.removeprefix('text_model.')}"
        first, second = shapes.get(f"{name}.A"), shapes.get(f"{name}.B")
        targets, told = metadata.get(f"{part}.target_modules"), metadata.get(f"{part}.r")
        names = targets if isinstance(targets, list) else []  # a text is an expression, which peft reads
        adapted = any(layer == name or layer.endswith(f".{name}") for name in names)
        if not (first or second or adapted):
            continue
        rank = first[0] if first else second[1] if second else told if isinstance(told, int) else 0
        out, into, *kernel = module.weight.shape
        wanted[f"{name}.A"] = (rank, into, *kernel)
        wanted[f"{name}.B"] = (out, rank, *[1] * len(kernel))
    return wanted


def _layers(pipe: Any) -> Iterator[tuple[str, str, Any]]:
    """The linear layers and convolutions of a pipeline: part, name in it, module."""
    for part in _PARTS:
        network = getattr(pipe, part, None)
        for layer, module in network.named_modules() if network is not None else ():
            if getattr(module, "weight", None) is not None and module.weight.ndim in (2, 4):
                yield part, layer, module


def _check_taken(pipe: Any, path: Path, halves: int) -> None:
    """Raise ModelError unless as many halves are in the pipeline now as the file has: nothing was passed over."""
    networks = [network for part in _PARTS if (network := getattr(pipe, part, None)) is not None]
    names = [name for network in networks for name, _ in network.named_parameters()]
    taken = sum(".lora_A." in name or ".lora_B." in name for name in names)
    if taken != halves:
        raise ModelError(f"{path} holds {halves} tensors of LoRA, of which diffusers took {taken}: they do not fit")


def _set_scales(pipe: Any, path: Path, alphas: dict[str, float]) -> tuple[str, ...]:
    """Give every layer the scale that its alpha in the file makes; a note where diffusers had given it another.

    diffusers passes over alphas that differ between layers, and gives a layer without one that of the others. Raises
    ModelError for one that is not finite: it stands beside the tensors, and makes NaN of sound ones.
    """
    others = 0
    for part in _PARTS:
        network = getattr(pipe, part, None)
        for name, layer in network.named_modules() if network is not None else ():
            for adapter in getattr(layer, "lora_A", ()):
                scale, rank = layer.scaling[adapter], layer.r[adapter]
                if alphas:
                    scale = alphas.get(f"{part}.{name.removeprefix('text_model.')}.A", rank) / rank
                if not math.isfinite(scale):
                    raise ModelError(f"{path} scales {part}.{name} by an alpha that is not finite: give a whole file")
                others += not math.isclose(scale, layer.scaling[adapter], rel_tol=1e-5)
                layer.scaling[adapter] = scale
    if not others:
        return ()
    return (f"{path} scales {others} layers by an alpha of their own, which diffusers alone passes over",)


def _notes(path: Path, layers: set[str], held: set[str]) -> tuple[str, ...]:
    """That an adapter reaches only a part of the U-Net's layers of the kinds that it adapts."""
    kinds = {_kind(layer) for layer in held}
    alike = {layer for layer in layers if _kind(layer) in kinds}
    if held == alike:
        return ()
    return (f"{path} adapts {len(held)} of the U-Net's {len(alike)} layers of its kinds ({files.named(kinds)})",)


def _kind(layer: str) -> str:
    """What a layer is in its block: attn1.to_q, ff.net.0.proj."""
    words = [word for word in layer.split(".") if not word.isdigit()]
    return ".".join(words[-2:])
