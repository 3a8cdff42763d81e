"""The folder of a model that has a name on the Hugging Face hub: from the cache of this machine, else downloaded.

A hub that cannot be reached is found out by one request of a few seconds, and asked no more by this process; the
client's own retries would take half a minute for each file.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable
from pathlib import Path

from datagen.errors import ModelError, one_line
from datagen.weights import pipelines

PATIENCE = 5.0  # seconds for the hub to answer at all
ID = re.compile(r"[\w.-]+/[\w.-]+")


def folder(model: str, revision: str = "", read: Callable[[Path], object] = pipelines.read) -> Path:
    """The snapshot of a pipeline's hub id with its safetensors; from the cache if it is whole there, as
    `read` says by raising no ModelError.

    Raises ModelError, one line, if there is no such id, or it is not here and cannot be had.
    """
    import diffusers

    if not ID.fullmatch(model) or model.startswith("."):
        raise ModelError(f"there is no folder {model}; give a diffusers folder, or a hub id such as owner/name")
    problem = ""
    # Some have their weights in half precision alone, which is found out only by asking for the others.
    for local, variant in ((True, None), (False, None), (False, "fp16")):
        if not local and (why := unreachable()):
            problem = why
            break
        try:
            found = diffusers.DiffusionPipeline.download(
                model,
                revision=revision or None,
                variant=variant,
                local_files_only=local,
                use_safetensors=True,
                safety_checker=None,
                feature_extractor=None,
            )
            read(Path(found))
            return Path(found)
        except Exception as error:  # the hub's client has no common base for what it raises
            problem = one_line(error)
    raise ModelError(
        f"{model} is neither a folder here nor whole in the local cache, and cannot be downloaded: {problem}; "
        "download it where there is a network, or give its folder"
    )


def index(model: str, revision: str = "") -> Path | None:
    """The model_index.json of a hub id, fetched if it is not in the cache; None if it cannot be had."""
    from huggingface_hub import hf_hub_download

    if unreachable():
        return None
    try:
        return Path(hf_hub_download(model, "model_index.json", revision=revision or None))
    except Exception:  # whoever downloads the model says why; the hub's client has no common base for what it raises
        return None


@functools.lru_cache(maxsize=1)
def unreachable() -> str:
    """Why the hub cannot be asked, "" if it can. Where it cannot, its client only looks into the cache from now on."""
    from huggingface_hub import constants, get_session

    if constants.is_offline_mode():
        return "HF_HUB_OFFLINE is set"
    try:
        get_session().head(constants.ENDPOINT, timeout=PATIENCE)
    except Exception as error:  # no network, no such host, a proxy that refuses: the client's library may change
        constants.HF_HUB_OFFLINE = True
        os.environ["HF_HUB_OFFLINE"] = "1"  # for the processes that this one starts
        return f"{constants.ENDPOINT} cannot be reached ({one_line(error)})"
    return ""
