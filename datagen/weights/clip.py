"""CLIP through open_clip: where a model of a name lies, and the network that its weights fill, in float32.

open_clip starts a model at random where it finds no weights, stretches position embeddings that do not fit, and reads
pickles. None of it happens here.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import re
import warnings
from pathlib import Path
from typing import Any

from datagen.errors import ModelError, one_line
from datagen.weights import checkpoint, files, fit, hub, identity

EMBEDDED = "embedded"
FILES = ("open_clip_config.json", "open_clip_model.safetensors")
# Positions of pictures and of texts; open_clip stretches those of another number.
_POSITIONS = re.compile(r"(^|\.)positional_embedding$|pos_embed$")


@dataclasses.dataclass(frozen=True)
class Source:
    """Where a model comes from: what it is called in rows and figures, and what open_clip is given.

    `checkpoint` is a file with the weights of the architecture `name`, in the place of open_clip's own, and `sha256`
    the hash that it must have if it is a pickle.
    """

    model: str
    name: str
    pretrained: str | None = None
    folder: Path | None = None
    checkpoint: Path | None = None
    sha256: str = ""

    @functools.cached_property
    def identity(self) -> str:
        """What tells the weights apart, without the paths of this machine; reads those of a folder once."""
        if self.checkpoint is not None:
            return f"{self.model}@{checkpoint.digest(self.checkpoint, self.sha256)}"
        if self.folder is None:
            return self.model
        return f"{self.model}@{identity.folder(self.folder)}"


def find(model: str, embedded: Path | None = None) -> Source:
    """Where a model lies: an open_clip folder, ARCHITECTURE/PRETRAINED or hf-hub:OWNER/NAME. Loads nothing.

    "embedded" is the one in the folder `embedded`, if that is given. ModelError for a name that is none, or a folder
    that is not whole.
    """
    if model == EMBEDDED and embedded is not None:
        return dataclasses.replace(_of_folder(embedded), model=EMBEDDED)
    folder = Path(model).expanduser()
    if folder.is_dir():
        return _of_folder(folder)
    if re.fullmatch(r"hf-hub:[\w.-]+/[\w.-]+", model):
        return Source(model, model)
    return _named(model)


def load(source: Source, device: Any) -> tuple[Any, Any, Any]:
    """Network (frozen, in evaluation mode), preprocessing and tokenizer. Raises ModelError, one line."""
    import open_clip

    if source.checkpoint is not None:
        return _of_checkpoint(source, source.checkpoint, device)
    # OpenAI's weights were trained with QuickGELU, which the plain names (ViT-L-14) do not have.
    pretrained = source.pretrained and open_clip.get_pretrained_cfg(source.name, source.pretrained)
    what = f"the CLIP model {source.model}"
    quick = bool(pretrained and pretrained.get("quick_gelu"))
    weights = _weights(source, pretrained)
    try:
        with warnings.catch_warnings():
            # open_clip only warns of the other mismatch: an architecture with QuickGELU, weights without.
            warnings.filterwarnings("error", message="QuickGELU mismatch")
            network, _, preprocess = open_clip.create_model_and_transforms(
                source.name,
                pretrained=source.pretrained,
                device=device,
                force_quick_gelu=quick,
                require_pretrained=True,
            )
        tokenizer = open_clip.get_tokenizer(source.name)
    except Exception as error:  # whatever the libraries raise on damaged files, on a mismatch or without a network
        if "loading state_dict" in str(error):
            _check_names(what, source, weights)
        hint = "; name the architecture without -quickgelu" if "QuickGELU" in str(error) else ""
        raise ModelError(f"{what} does not load: {one_line(error)}{hint}") from error
    _check_shapes(what, network, weights)
    fit.refuse_broken(what, network)
    return network.requires_grad_(False).eval(), preprocess, tokenizer


def weights(source: Source) -> Path:
    """The file of safetensors that a model is loaded from, downloaded if need be. Raises ModelError."""
    import open_clip

    return _weights(source, source.pretrained and open_clip.get_pretrained_cfg(source.name, source.pretrained))


def missing(source: Source) -> str:
    """That a model would be downloaded, in words; "" if it lies here. Asks nobody, loads nothing."""
    import open_clip
    from huggingface_hub import try_to_load_from_cache

    if source.folder is not None or source.checkpoint is not None:
        return ""
    config = open_clip.get_pretrained_cfg(source.name, source.pretrained) if source.pretrained else {}
    repository = str(config.get("hf_hub") or source.name.removeprefix("hf-hub:")).rstrip("/")
    if "/" in repository and isinstance(try_to_load_from_cache(repository, FILES[1]), str):
        return ""
    return f"the CLIP model {source.model} is not in the local cache: it is downloaded when it is first asked"


def _of_checkpoint(source: Source, path: Path, device: Any) -> tuple[Any, Any, Any]:
    """An architecture that is filled from a file; its preprocessing is its architecture's."""
    import open_clip

    network, _, preprocess = open_clip.create_model_and_transforms(source.name, load_weights=False)
    checkpoint.fill(f"the CLIP model {source.model}", network, checkpoint.read(path, source.sha256))
    return network.requires_grad_(False).eval().to(device), preprocess, open_clip.get_tokenizer(source.name)


def _of_folder(folder: Path) -> Source:
    for file in FILES:
        if not (folder / file).is_file():
            raise ModelError(f"{folder} is not an open_clip folder: it has no {file}")
    files.read_json(folder / FILES[0])
    files.Files((folder / FILES[1],)).entries()
    return Source(folder.resolve().name, f"local-dir:{folder}", folder=folder)


def _named(model: str) -> Source:
    """One of the models that open_clip knows; ModelError with the nearest."""
    import open_clip

    known = {f"{name}/{tag}": Source(f"{name}/{tag}", name, tag) for name, tag in open_clip.list_pretrained()}
    if model not in known:
        close = difflib.get_close_matches(model, known, n=3) or ["ViT-L-14/openai"]
        raise ModelError(
            f"no CLIP model is called {model!r}; give embedded, an open_clip folder, hf-hub:OWNER/NAME, "
            f"or ARCHITECTURE/PRETRAINED such as {', '.join(close)}"
        )
    return known[model]


def _weights(source: Source, pretrained: Any) -> Path:
    """The file of safetensors that open_clip will read, downloaded if need be. Raises ModelError."""
    from open_clip import pretrained as downloads

    if source.folder is not None:
        return source.folder / FILES[1]
    if pretrained and not pretrained.get("hf_hub"):
        path = Path(str(pretrained.get("url")))
    else:
        offline = hub.unreachable()
        try:
            if pretrained:
                path = Path(downloads.download_pretrained(pretrained))
            else:
                path = Path(downloads.download_pretrained_from_hf(source.name.removeprefix("hf-hub:")))
        except Exception as error:  # the hub's client has no common base for what it raises
            reason = offline or one_line(error)
            raise ModelError(
                f"the CLIP model {source.model} is not in the local cache and cannot be downloaded: {reason}; give "
                "the folder of one, or download it where there is a network"
            ) from error
    if path.suffix != ".safetensors":
        raise ModelError(
            f"the CLIP model {source.model} comes as {path.name}, a pickle, which can run code and is not read: give "
            "one that has safetensors"
        )
    return path


def _check_shapes(what: str, network: Any, path: Path) -> None:
    """Raise ModelError for what open_clip makes up: positions of another number stretched, a missing bias set to 0."""
    held, ours = _held(path), _shapes(network)
    positions = {name for name in ours if name in held and _POSITIONS.search(name)}
    stretched = {name: (ours[name], held[name]) for name in positions if ours[name] != held[name]}
    fit.check(what, fit.Differences(frozenset({"logit_bias"} & (ours.keys() - held.keys())), misshapen=stretched))


def _check_names(what: str, source: Source, path: Path) -> None:
    """Raise ModelError with the tensors that open_clip did not find or know; nothing where it counts otherwise."""
    import open_clip

    bare = open_clip.create_model(source.name, load_weights=False)
    fit.check(what, fit.compare(_shapes(bare), _held(path)))


def _shapes(network: Any) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in network.state_dict().items()}


def _held(path: Path) -> dict[str, tuple[int, ...]]:
    return {name: entry.shape for name, entry in files.Files((path,)).entries().items()}
