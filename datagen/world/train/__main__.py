"""`python -m datagen.world.train`: rebuild the embedded models from nothing, all of them or one at a time.

On two cores the whole takes under two hours. The parts `unet` and `clip` can run side by side; `settle` ends what
`unet` began.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

PARTS = ("tokenizer", "vae", "unet", "settle", "clip", "pack")


def main(
    out: Annotated[Path, typer.Option(help="Folder for what is being trained.")] = Path("out/world"),
    only: Annotated[str, typer.Option(help=f"One part of {', '.join(PARTS)}; default: all in that order.")] = "",
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0 leaves it to torch.")] = 0,
) -> None:
    """Train the parts into OUT; `pack` then writes half-precision safetensors into the package."""
    import torch

    from datagen.world import CLIP, PIPELINE
    from datagen.world.train import clip, diffusion, pack, tokenizer, vae

    if only and only not in PARTS:
        raise typer.BadParameter(f"no part is called {only!r}; known: {', '.join(PARTS)}")
    if threads:
        torch.set_num_threads(threads)
    folders = {name: out / name for name in ("tokenizer", "vae", "pipeline", "clip")}
    steps: dict[str, Callable[[], object]] = {
        "tokenizer": lambda: tokenizer.build(folders["tokenizer"]),
        "vae": lambda: vae.train(folders["vae"]),
        "unet": lambda: diffusion.train(folders["vae"], folders["tokenizer"], folders["pipeline"]),
        "settle": lambda: diffusion.settle(folders["pipeline"]),
        "clip": lambda: clip.train(folders["clip"]),
        "pack": lambda: pack.pack(folders["pipeline"], folders["clip"], PIPELINE, CLIP),
    }
    for name in [only] if only else PARTS:
        steps[name]()


if __name__ == "__main__":
    typer.run(main)
