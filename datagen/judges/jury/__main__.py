"""`python -m datagen.judges.jury`: train the embedded jury from nothing, all of it or one judge; minutes on two cores.

The same seeds give the same judges on the same machine; on another, the last digits of the weights may differ, and so
their accuracies by a point or so.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

JUDGES = ("clip", "aesthetic_v1", "pickscore", "hpsv2", "imagereward", "vlm")


def main(
    out: Annotated[Path, typer.Option(help="Folder for what is being trained.")] = Path("out/jury"),
    only: Annotated[list[str], typer.Option(help=f"Some of {', '.join(JUDGES)}; default: all.")] = [],  # noqa: B006
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0 leaves it to torch.")] = 0,
    share: Annotated[float, typer.Option(help="Of the steps, above 0; below 1 it is a rehearsal.")] = 1.0,
    pack: Annotated[bool, typer.Option(help="Put what was trained into the package.")] = False,
) -> None:
    """Train into OUT, a folder a judge."""
    import torch

    from datagen import world
    from datagen.judges.jury import aesthetic, answering, contrastive, reward, tuned
    from datagen.weights import parts

    if unknown := sorted(set(only) - set(JUDGES)):
        raise typer.BadParameter(f"no judge of the jury is called {unknown[0]!r}; known: {', '.join(JUDGES)}")
    if not 0 < share <= 1:
        raise typer.BadParameter(f"--share is {share}: give more than 0 and at most 1")
    if pack and share < 1:
        raise typer.BadParameter("what a rehearsal trains is not put into the package: leave --pack or --share out")
    parts.quiet()
    if threads:
        torch.set_num_threads(threads)
    wanted = only or list(JUDGES)
    clip: Any = None
    base: Any = None
    if {"clip", "aesthetic_v1"} & set(wanted):
        clip = contrastive.train(out / "clip", contrastive.CLIP, share)
    if {"pickscore", "hpsv2"} & set(wanted):
        base = contrastive.train(out / "base", contrastive.BASE, share)
    steps: dict[str, Callable[[Path], object]] = {
        "aesthetic_v1": lambda folder: aesthetic.train(folder, clip, share),
        "pickscore": lambda folder: tuned.pickscore(folder, base, share),
        "hpsv2": lambda folder: tuned.hpsv2(folder, base, share),
        "imagereward": lambda folder: reward.train(folder, share),
        "vlm": lambda folder: answering.train(folder, share),
    }
    for name in wanted:
        if name in steps:  # not the CLIP that others begin with
            steps[name](out / name)
        if pack:
            shutil.rmtree(world.JURY / name, ignore_errors=True)
            shutil.copytree(out / name, world.JURY / name)


if __name__ == "__main__":
    typer.run(main)
