"""What was trained onto the Hugging Face hub: what would be uploaded is said first, and only --push uploads.

The token is read from HF_TOKEN and never printed or written. Raises TrainingError.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from training.errors import TrainingError, one_line

# What a run keeps for itself.
OWN = ("metrics.jsonl", "checkpoints", "tensorboard", "grids", "wandb")


def upload(folder: Path, repository: str, *, push: bool, public: bool) -> str:
    """Upload a folder, or say what would be; the last line names what there is to do or where it is."""
    if not re.fullmatch(r"[\w][\w.-]*/[\w.-]+", repository):
        raise TrainingError(f"--hub {repository!r}: give OWNER/NAME")
    files = _files(folder)
    total = sum(size for _, size in files)
    listed = [f"  {name}  {size:,} bytes" for name, size in files]
    kind = "public" if public else "private"
    said = "\n".join([f"{folder} to {repository} ({kind} if it is new): {len(files)} files, {total:,} bytes", *listed])
    if not push:
        return f"{said}\nnothing was uploaded: --push does it, with the token in HF_TOKEN"
    token = os.environ.get("HF_TOKEN")
    if not token:
        raise TrainingError("no HF_TOKEN in the environment: set it to a token that may write")
    import huggingface_hub

    hub = huggingface_hub.HfApi(token=token)
    try:
        hub.create_repo(repository, private=not public, exist_ok=True)
        hub.upload_folder(
            repo_id=repository, folder_path=str(folder), allow_patterns=[name for name, _ in files],
            commit_message="Weights",
        )  # fmt: skip
    except Exception as error:  # the client raises many kinds
        raise TrainingError(f"{repository} cannot be written: {one_line(error).replace(token, '…')}") from error
    return f"{said}\nuploaded to {hub.endpoint}/{repository}"


def _files(folder: Path) -> list[tuple[str, int]]:
    """Names and sizes of what is uploaded: all but hidden files and what a run keeps for itself."""
    if not folder.is_dir():
        raise TrainingError(f"{folder} is not a folder: give what training/run.py or training/export.py wrote")
    found = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder)
        if name.parts[0] not in OWN and not any(part.startswith(".") for part in name.parts):
            found.append((name.as_posix(), path.stat().st_size))
    if not any(name.endswith(".safetensors") for name, _ in found):
        raise TrainingError(f"{folder} holds no weights: give what training/run.py or training/export.py wrote")
    return found
