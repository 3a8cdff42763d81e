"""What was trained as a whole model: a diffusers folder that needs neither an adapter nor this project.

`python training/export.py --adapter DIR --out FOLDER` puts a U-Net or LoRA into the model, or lays a value encoder
beside it; `--hub OWNER/NAME` lists what would be uploaded, and `--push` uploads it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):  # run as a file: make `training` importable as it is under `python -m`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from training.errors import TrainingError, exit_code
from training.settings import export as settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0, or 2 with one line on stderr."""

    def work() -> None:
        given = settings.parse(arguments)
        if not (given.job.out or given.hub.hub):
            raise TrainingError("give --out, the folder to write, or --hub, where to upload what training wrote")
        if given.hub.push and not given.hub.hub:
            raise TrainingError("--push needs --hub OWNER/NAME")
        from training.inference import hub, whole  # imports torch, for which nobody should wait to read --help

        adapter = Path(given.source.adapter).expanduser()
        folder = adapter
        if given.job.out:
            folder = Path(given.job.out).expanduser()
            for note in whole.save(adapter, given.source.model, folder, given.job.precision):
                print(f"note: {note}")
            print(f"saved to {folder}")
        if given.hub.hub:
            print(hub.upload(folder, given.hub.hub, push=given.hub.push, public=given.hub.public))

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
