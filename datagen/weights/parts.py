"""The parts of a model from their folders: networks, tokenizers, schedulers; each as its file has it, or not at all.

Folders of this machine alone: nothing here asks the hub.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from datagen.errors import ModelError, one_line
from datagen.weights import files, fit

# Any of them makes a tokenizer; the second with merges.txt.
VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt", "spiece.model", "sentencepiece.bpe.model")


@dataclasses.dataclass(frozen=True)
class Loaded:
    """A network or a pipeline, and what a user should know of how it was read: one line each.

    `variant` is what stands in the names of a network's files where there are none without (fp16), else "".
    """

    model: Any
    notes: tuple[str, ...] = ()
    variant: str = ""


def load(kind: Any, folder: Path, *, dtype: Any = None) -> Loaded:
    """The network of a folder, in evaluation mode, as `dtype` (None: float32).

    `kind` is a class of diffusers or transformers with `from_pretrained`. Raises ModelError, one line, for weights
    that do not fill the model, are NaN or infinite, are not all there, quantised, or pickled.
    """
    import torch

    quiet()
    what = f"{folder.name} in {folder.parent}"
    config = _config(kind, folder)
    found = files.find(folder)
    entries = found.entries()
    options: dict[str, Any] = {"ignore_mismatched_sizes": True} if _is_transformers(kind) else {}
    if found.variant:
        options["variant"] = found.variant
    try:
        model, info = kind.from_pretrained(
            folder,
            dtype=dtype or torch.float32,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            **options,
        )
    except Exception as error:  # the libraries raise many kinds
        if misshapen := _misshapen(error, entries):
            fit.check(what, misshapen)
        raise ModelError(f"{what} does not load: {one_line(error)}") from error
    if failed := [*info.get("error_msgs", ()), *info.get("conversion_errors", ())]:
        raise ModelError(f"{what} does not load: {failed[0]}")
    differences = fit.Differences(
        frozenset(info["missing_keys"]),
        frozenset(info["unexpected_keys"]),
        {name: (tuple(ours), tuple(theirs)) for name, theirs, ours in info["mismatched_keys"]},
    )
    layers = config.get("num_hidden_layers") if "TextModel" in kind.__name__ else None
    notes = fit.check(what, differences, kind.__name__, layers)
    fit.refuse_broken(what, model)
    return Loaded(model.eval(), notes, found.variant)


def tokenizer(folder: Path, longest: int, kind: Any = None) -> Any:
    """The tokenizer of a folder, CLIP's or of `kind`; it cuts texts at `longest` tokens or earlier. ModelError."""
    from transformers import CLIPTokenizer

    quiet()
    check_vocabulary(folder)
    try:
        found: Any = (kind or CLIPTokenizer).from_pretrained(folder, local_files_only=True)
    except Exception as error:  # what a broken file raises depends on the library's version
        raise ModelError(f"{folder} holds no tokenizer that can be read: {one_line(error)}") from error
    if len(found) < 3:
        raise ModelError(f"{folder} holds a tokenizer without a vocabulary: {files.AGAIN}")
    found.model_max_length = min(found.model_max_length, longest)
    return found


def check_vocabulary(folder: Path) -> None:
    """Raise ModelError for a folder without a tokenizer, of which the library would make an empty one."""
    if not any((folder / name).is_file() for name in VOCABULARIES):
        raise ModelError(
            f"{folder} has no tokenizer: expected tokenizer.json, or vocab.json with merges.txt; {files.AGAIN}"
        )


def processor(folder: Path) -> Any:
    """The processor of a folder's vision language model, its images by way of Pillow. Raises ModelError, one line."""
    from transformers import AutoImageProcessor, AutoProcessor

    quiet()
    options = {"local_files_only": True, "trust_remote_code": False}
    try:
        found: Any = AutoProcessor.from_pretrained(folder, **options)
        # Pillow resizes bytes, as all references did; the library's own default resizes tensors. Asked for of the
        # whole processor, it would be asked of the part for videos too, which has no such way.
        found.image_processor = AutoImageProcessor.from_pretrained(folder, backend="pil", **options)
    except Exception as error:  # the library raises many kinds
        raise ModelError(f"{folder} holds no processor that can be read: {one_line(error)}") from error
    if getattr(found, "tokenizer", None) is None:
        raise ModelError(f"{folder} has no tokenizer: {files.AGAIN}")
    return found


def scheduler(folder: Path, kind: Any = None) -> Any:
    """The scheduler of a folder, as its own class or as `kind` on the same noise levels. Raises ModelError."""
    import diffusers
    from diffusers.schedulers.scheduling_utils import SchedulerMixin

    quiet()
    path = folder / "scheduler_config.json"
    name = str(files.read_json(path).get("_class_name"))
    own = getattr(diffusers, name, None)
    if not (isinstance(own, type) and issubclass(own, SchedulerMixin)):
        raise ModelError(f"{path} names the scheduler {name}, which diffusers {diffusers.__version__} does not have")
    chosen: Any = kind or own
    try:
        return chosen.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # settings that no scheduler takes
        raise ModelError(f"{path} makes no scheduler: {one_line(error)}") from error


def tensors(path: Path, names: Iterable[str] | None = None) -> dict[str, Any]:
    """The tensors of one safetensors file by their names, all or some, on the CPU. ModelError if it is not whole."""
    from safetensors import safe_open

    held = files.header(path)
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in (held if names is None else names)}


def quiet() -> None:
    """Silence the libraries' own bars, reports and advice; what a user must know is said here."""
    import diffusers
    import transformers

    for library in (diffusers.utils.logging, transformers.utils.logging):
        library.set_verbosity_error()
        library.disable_progress_bar()


def _config(kind: Any, folder: Path) -> dict[str, Any]:
    """The config.json of a network. Raises ModelError if it is another class's, or of quantised weights."""
    if not folder.is_dir():
        raise ModelError(f"the model at {folder.parent} has no folder {folder.name}: {files.AGAIN}")
    config = files.read_json(folder / "config.json")
    if config.get("auto_map"):
        raise ModelError(f"{folder} wants to run code of its own (auto_map), which is not done: give another model")
    if config.get("quantization_config"):
        raise ModelError(f"{folder} holds quantised weights, which are not read: give them in float32 or float16")
    if _is_transformers(kind):
        accepted = getattr(getattr(kind, "config_class", None), "model_type", None)
        # A whole CLIP's config ("clip") has those of its towers inside, and so has SigLIP's.
        whole = (accepted or "").removesuffix("_text_model").removesuffix("_vision_model")
        if accepted and config.get("model_type", accepted) not in (accepted, whole):
            raise ModelError(f"{folder} holds a {config['model_type']}; {accepted} ({kind.__name__}) is accepted")
    elif config.get("_class_name", kind.__name__) != kind.__name__:
        raise ModelError(f"{folder} holds a {config['_class_name']}; {kind.__name__} is accepted")
    return config


def _is_transformers(kind: Any) -> bool:
    return str(kind.__module__).startswith("transformers")


def _misshapen(error: Exception, entries: dict[str, files.Entry]) -> fit.Differences | None:
    """What diffusers says of the first tensor of another shape, as differences; None of any other error."""
    match = re.search(r"because (\S+) expected shape .*?\[([\d, ]*)\]", str(error))
    if match is None or match[1] not in entries:
        return None
    ours = tuple(int(number) for number in match[2].split(",") if number.strip())
    return fit.Differences(misshapen={match[1]: (ours, entries[match[1]].shape)})
