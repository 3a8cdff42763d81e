"""Commands that show and hand on what is made: report, review, export, replay, list, doctor, validate."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from datagen.cli.options import path, run_place
from datagen.cli.program import app
from datagen.errors import InputError


class Listing(StrEnum):
    """What `datagen list` takes."""

    recipes = "recipes"
    judges = "judges"
    generators = "generators"
    exports = "exports"
    executors = "executors"
    principles = "principles"
    templates = "templates"


class Marking(StrEnum):
    """How `datagen export` marks pictures as made by a machine."""

    none = "none"
    xmp = "xmp"
    c2pa = "c2pa"


class Arm(StrEnum):
    """The control arms of `datagen export`."""

    random = "random"
    swapped = "swapped"


@app.command()
def report(
    run: Annotated[Path, typer.Argument(parser=run_place, metavar="RUN", help="A finished run directory.")],
    out: Annotated[
        Path | None,
        typer.Option(parser=path, metavar="PATH", help="The .html to write; without one, report.html in the run."),
    ] = None,
    folder: Annotated[
        bool, typer.Option("--folder", help="Put the pictures beside the page: for more pairs than one file holds.")
    ] = False,
) -> None:
    """Write a page of a run that opens offline: its pairs, how far to trust their labels, its judges, its audit."""
    from datagen import progress
    from datagen.commands import report as reports

    with progress.Display() as display:
        made = reports.write(run, out, folder, display.show)
    print(f"{made.path} shows {made.shown:,} of {made.pairs:,} pairs")


@app.command()
def review(
    run: Annotated[Path, typer.Argument(parser=path, metavar="RUN", help="A labelled run directory.")],
    count: Annotated[int, typer.Option(min=1, help="Pairs to be answered in all; more asks for more.")] = 200,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of 127.0.0.1 for the page; 0 takes a free one.")
    ] = 0,
) -> None:
    """Label a sample of a run's pairs yourself, on a page of this machine; the answers calibrate all its labels."""
    from datagen import progress
    from datagen.commands import review as reviews

    with progress.Display() as display:
        outcome = reviews.review(run, count, port, say=display.say, progress=display.show)
    print("\n".join(outcome.lines()))


@app.command()
def export(
    run: Annotated[Path, typer.Argument(parser=run_place, metavar="RUN", help="A finished run directory.")],
    out: Annotated[
        Path,
        typer.Option(parser=path, metavar="PATH", help="Folder to fill; it must be new, empty or an earlier export."),
    ],
    format: Annotated[str, typer.Option(help="What to write (datagen list exports).")] = "huggingface",
    control: Annotated[
        Arm | None, typer.Option(help="A control arm: the same pairs with half of them exchanged, or all.")
    ] = None,
    mark: Annotated[
        Marking, typer.Option(help="How pictures say that a machine made them; c2pa needs --key and --certificate.")
    ] = Marking.xmp,
    key: Annotated[
        Path | None, typer.Option(parser=path, metavar="FILE", help="Private key in PEM that signs for --mark c2pa.")
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option(parser=path, metavar="FILE", help="Its certificate and those above it, in PEM.")
    ] = None,
    push: Annotated[
        str, typer.Option(metavar="OWNER/NAME", help="Upload it to this data set of a Hugging Face hub (HF_TOKEN).")
    ] = "",
    public: Annotated[
        bool, typer.Option("--public", help="Make that data set public; without, it is private.")
    ] = False,
) -> None:
    """Write the pairs of a finished run in another format, or with the labels of a control arm."""
    from datagen import progress
    from datagen.commands import export as exports
    from datagen.export.parts import hub
    from datagen.export.parts import mark as marks

    wanted = marks.of(mark.value, key, certificate)
    target = hub.target(push, public)
    if target:
        hub.check(target)
    with progress.Display() as display:
        arm = control.value if control else ""
        written = exports.export_run(run, format, out, display.say, arm, mark=wanted, progress=display.show)
    what = format if control is None else f"CONTROL ARM ({control.value} labels), {format}"
    print(f"{what} export in {out}" if written else f"nothing to do: {out} holds this export")
    if target is not None:
        print(f"uploaded to {hub.push(out, target)}")


@app.command()
def replay(
    source: Annotated[
        Path,
        typer.Argument(parser=path, metavar="PATH", help="A run directory, a dataset directory or a Parquet file."),
    ],
    id: Annotated[
        str, typer.Argument(metavar="ID", help="Of an image, a pair or a prompt; a beginning will do if it fits one.")
    ],
    out: Annotated[
        Path | None, typer.Option(parser=path, metavar="FILE", help="Picture to write what is drawn here to.")
    ] = None,
    model: Annotated[str, typer.Option(help="Where the model lies, if rows do not say: a folder or a hub id.")] = "",
    vae: Annotated[str, typer.Option(help="Where the VAE lies, if the row names another than the model's own.")] = "",
) -> None:
    """Draw an image again from its row and compare; exit code 1 if it comes out as another."""
    from datagen.commands import replay as replays

    near = True
    for row, found in replays.replay_all(source, id, replays.Where(model, vae), out):
        print("\n".join(replays.line(row, found)), flush=True)
        near &= found.is_near
    if not near:
        raise typer.Exit(1)


@app.command(name="list")
def list_(what: Annotated[Listing, typer.Argument(help="What to list.")]) -> None:
    """List what there is to choose from."""
    from datagen.commands import listing
    from datagen.executors import EXECUTORS
    from datagen.export import FORMATS
    from datagen.generators import GENERATORS

    listed = {
        "recipes": listing.recipes,
        "judges": listing.judges,
        "generators": GENERATORS.described,
        "exports": FORMATS.described,
        "executors": EXECUTORS.described,
        "principles": listing.principles,
        "templates": listing.templates,
    }[what.value]()
    width = max((len(name) for name, _ in listed), default=0)
    for name, description in listed:
        print(f"{name:<{width}}  {description}".rstrip())


@app.command()
def doctor() -> None:
    """Say what this machine can serve, and which profile `auto` takes and why."""
    from datagen.commands import doctor as checks

    findings = checks.report(Path.cwd())
    width = max(len(what) for what, _ in findings)
    for what, finding in findings:
        print(f"{what:<{width}}  {finding}")


@app.command()
def validate(
    dataset: Annotated[
        Path,
        typer.Argument(parser=path, metavar="PATH", help="A run directory, a dataset directory or a Parquet file."),
    ],
) -> None:
    """Check a dataset: schema, images, probabilities, splits, counts. One line per problem; exit code 2 if any."""
    from datagen.commands import validate as checks

    found = 0
    for problem in checks.problems(dataset):
        found += 1
        print(problem)
    if found:
        raise InputError(f"{found} problems in {dataset}")
    print(f"{dataset} is sound")
