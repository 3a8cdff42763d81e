"""A whole diffusers folder of any text-to-image pipeline: every part through the door, in the pipeline's own class.

What pipelines are meant is diffusers' own list (AutoPipelineForText2Image), without those that want more than a text.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from datagen.errors import ModelError, nearest, one_line
from datagen.weights import files, kinds, parts
from datagen.weights.parts import Loaded

# Parts that a picture does not need: the safety checker blacks out what an `avoid` principle must show as rejected.
_LEFT_OUT = ("safety_checker", "feature_extractor", "image_encoder", "watermarker")
_SCHEDULER, _TOKENIZER = "Scheduler", ("Tokenizer", "TokenizerFast", "Processor")


def read(folder: Path) -> dict[str, tuple[str, str]]:
    """The parts of a folder by name: library and class; all of them are there, with whole weights.

    Reads no weights and imports no library. Raises ModelError, one line.
    """
    if folder.is_dir() and not (folder / "model_index.json").is_file():
        kinds.refuse_folder(folder)
    index = files.read_index(folder)
    name = str(index.get("_class_name"))
    if what := kinds.pipeline(name):
        raise ModelError(f"{folder} is a {name}, {what}: give a model that draws from a text")
    found: dict[str, tuple[str, str]] = {}
    for part, value in index.items():
        if part.startswith("_") or part in _LEFT_OUT or not (isinstance(value, list) and len(value) == 2):
            continue
        if value[0] is None:
            continue
        if not (folder / part).is_dir():
            raise ModelError(f"the model at {folder} has no {part}: {files.AGAIN}")
        found[part] = str(value[0]), str(value[1])
    for part, (_, kind) in found.items():
        if not kind.endswith((*_TOKENIZER, _SCHEDULER)):
            files.find(folder / part).entries()
    return found


def load(folder: Path, *, dtype: Any) -> Loaded:
    """The pipeline of a folder on the CPU as `dtype`. Raises ModelError, one line."""
    import diffusers

    parts.quiet()
    held = read(folder)
    name = str(files.read_index(folder)["_class_name"])
    pipeline = _pipeline_class(folder, name)
    made: dict[str, Any] = {}
    notes: tuple[str, ...] = ()
    for part, (library, kind) in held.items():
        if kind.endswith(_SCHEDULER):
            made[part] = parts.scheduler(folder / part)
        elif not kind.endswith(_TOKENIZER):
            loaded = parts.load(_class(folder, part, library, kind), folder / part, dtype=dtype)
            made[part] = loaded.model
            notes += loaded.notes
    left_out = {part: None for part in _LEFT_OUT if part in files.read_index(folder)}
    try:
        found = pipeline.from_pretrained(folder, local_files_only=True, **made, **left_out)
    except Exception as error:  # of tokenizers and settings the libraries raise many kinds
        raise ModelError(
            f"{folder} makes no {name} of diffusers {diffusers.__version__}: {one_line(error)}"
        ) from error
    return Loaded(found, notes)


def _pipeline_class(folder: Path, name: str) -> Any:
    """diffusers' class of that name, if it draws a picture from a text."""
    import diffusers
    from diffusers.pipelines.auto_pipeline import AUTO_TEXT2IMAGE_PIPELINES_MAPPING

    known = {kind.__name__: kind for kind in AUTO_TEXT2IMAGE_PIPELINES_MAPPING.values()}
    if name not in known:
        raise ModelError(
            f"{folder} is a {name}, which diffusers {diffusers.__version__} does not draw with from a text alone; "
            f"{nearest(name, known)}"
        )
    return known[name]


def _class(folder: Path, part: str, library: str, kind: str) -> Any:
    """The class of a part, of diffusers or transformers; code that lies in the folder is not run."""
    if library in ("diffusers", "transformers"):
        found = getattr(importlib.import_module(library), kind, None)
    else:  # a class that lies beside its pipeline
        try:
            found = getattr(importlib.import_module(f"diffusers.pipelines.{library}"), kind, None)
        except ImportError:
            found = None
    if found is None:
        raise ModelError(f"{part} in {folder} is a {kind} of {library}, which is not known here: update diffusers")
    return found
