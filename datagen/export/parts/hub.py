"""An export on a Hugging Face hub: a data set of its own, private unless asked otherwise.

The token comes from HF_TOKEN alone and is in no message; what a data set already holds is not overwritten.
"""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path
from typing import Any

from datagen.errors import InputError, one_line

ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)
TOKEN = "HF_TOKEN"
THEIRS = {".gitattributes"}  # what the hub itself puts into a new data set


@dataclasses.dataclass(frozen=True)
class Target:
    """A data set on the hub, and what opens it."""

    name: str
    public: bool
    token: str = dataclasses.field(repr=False)


def target(name: str, public: bool) -> Target | None:
    """Where to upload; None for no name. InputError for a name that is none, or without a token: nothing is sent."""
    if not name:
        if public:
            raise InputError("--public is of a data set that --push names: give --push OWNER/NAME")
        return None
    if not ID.fullmatch(name) or ".." in name or "--" in name:
        raise InputError(f"--push takes OWNER/NAME of a data set on the hub, not {name!r}")
    token = os.environ.get(TOKEN, "").strip()
    if not token:
        raise InputError(f"--push needs a token that may write, in the environment variable {TOKEN}; none is set")
    if not re.fullmatch(r"[!-~]+", token):
        raise InputError(f"the token in {TOKEN} holds spaces or letters that no token has: copy it anew")
    return Target(name, public, token)


def check(to: Target) -> None:
    """Ask the hub who the token is of and whether it may write, before anything is made. InputError, one line."""
    from huggingface_hub import HfApi

    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None, token=to.token)
    try:
        said = api.whoami()
    except Exception as error:  # the hub's client has no common base for what it raises
        raise InputError(f"{to.name} cannot be uploaded: {_why(error, to)}") from None
    role = said.get("auth", {}).get("accessToken", {}).get("role")
    if role == "read":
        raise InputError(f"the token in {TOKEN} may only read: give one that may write to {to.name}")


def push(folder: Path, to: Target) -> str:
    """Upload what a folder holds; the address of the data set. InputError, one line, if the hub refuses."""
    from huggingface_hub import HfApi

    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None, token=to.token)
    try:
        made = api.create_repo(to.name, repo_type="dataset", private=not to.public, exist_ok=True)
        _refuse_others(api, folder, to)
        api.upload_folder(repo_id=to.name, repo_type="dataset", folder_path=folder, commit_message="A datagen export")
    except InputError:
        raise
    except Exception as error:  # the hub's client has no common base for what it raises
        raise InputError(f"{to.name} cannot be uploaded: {_why(error, to)}") from None
    return str(made)


def _refuse_others(api: Any, folder: Path, to: Target) -> None:
    """InputError if the data set is open to all and should not be, or holds what this export does not."""
    if not to.public and not api.repo_info(to.name, repo_type="dataset").private:
        raise InputError(f"{to.name} is there and public: give --public to upload to it, or another name")
    there = set(api.list_repo_files(to.name, repo_type="dataset")) - THEIRS
    here = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    if others := sorted(there - here):
        raise InputError(
            f"{to.name} holds {len(others)} files that are not of this export ({others[0]}): give another name, or "
            "remove them there"
        )


def _why(error: Exception, to: Target) -> str:
    """What the hub said, without the token."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return f"the hub refuses the token in {TOKEN} (status {status}): give one that may write to {to.name}"
    return one_line(error).replace(to.token, "…")
