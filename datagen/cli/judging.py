"""Commands of judges and labels: judge, serve, label, audit."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from datagen.cli.ending import closing, refuse_empty
from datagen.cli.options import MaxCost, path, run_place
from datagen.cli.program import app


@app.command()
def judge(
    images: Annotated[
        Path,
        typer.Argument(
            parser=path,
            metavar="INPUT",
            help="Folder of images with their texts, a table, a WebDataset tar, a data set, or kept embeddings.",
        ),
    ],
    judges: Annotated[
        list[str], typer.Option(help="Judges, separated by commas or given several times (datagen list judges).")
    ],
    out: Annotated[
        Path, typer.Option(parser=path, metavar="PATH", help="Parquet file to write; the same command resumes it.")
    ],
    prompts: Annotated[
        Path | None,
        typer.Option(
            parser=path,
            metavar="PATH",
            help="CSV, TSV, JSON Lines or Parquet file with image names and prompts.",
        ),
    ] = None,
    image_column: Annotated[
        str | None,
        typer.Option(help="Its column of image names, or of images; by itself image, else chosen and rejected."),
    ] = None,
    prompt_column: Annotated[
        str | None, typer.Option(help="Its column of prompts; by itself prompt, else caption or text.")
    ] = None,
    pairs: Annotated[
        bool, typer.Option("--pairs", help="The input has two images a row: judge both, and compare them.")
    ] = False,
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN|FILE",
            help="Which image of a pair is better, 1 to 0 for the first; prints how often each judge is right.",
        ),
    ] = None,
    explain: Annotated[
        Path | None, typer.Option(parser=path, metavar="PATH", help="HTML page to write: best, worst, most disputed.")
    ] = None,
    embeddings: Annotated[
        Path | None,
        typer.Option(
            parser=path, metavar="PATH", help="Parquet file to keep embeddings in, an INPUT that needs no images."
        ),
    ] = None,
    fast: Annotated[
        bool,
        typer.Option(
            "--fast", help="Decode JPEGs at a part of their size; small CLIPs' cosines differed by 0.0008 at most."
        ),
    ] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="JUDGE.OPTION=VALUE", help="A judge's option, e.g. clip.model=ViT-L-14/openai."),
    ] = None,
    planted: Annotated[
        bool,
        typer.Option(
            "--planted",
            help="Ask all judges of texts about another image's prompt, too; those that read embeddings always are. "
            "Where one reads no text, show all of them degraded copies.",
        ),
    ] = False,
    max_cost: MaxCost = None,
    clip_model: Annotated[str | None, typer.Option(help="Older name of --set clip.model.", hidden=True)] = None,
) -> None:
    """Score images that exist already."""
    from datagen import progress
    from datagen.commands import judge as judging
    from datagen.commands.judge import report

    choices = judging.choose(judges, settings or [], clip_model)
    with progress.Display() as display:
        summary = judging.judge_path(
            images,
            choices,
            out,
            judging.Options(
                prompts, image_column, prompt_column, pairs, labels, fast, embeddings, explain, max_cost, planted
            ),
            say=display.say,
            progress=display.show,
        )
    print("\n".join([*report.lines(summary, out), *report.groups(out)]))
    if not summary.scored:
        raise typer.Exit(1)


@app.command()
def serve(
    judges: Annotated[
        list[str], typer.Option(help="Judges, separated by commas or given several times (datagen list judges).")
    ],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of 127.0.0.1; 0 takes one that is free.")] = 8080,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="JUDGE.OPTION=VALUE", help="A judge's option, e.g. clip.model=ViT-L-14/openai."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(parser=path, metavar="PATH", help="Folder of what judges that ask a server spend."),
    ] = None,
    max_cost: MaxCost = None,
) -> None:
    """Judge images for online training: JSON over HTTP on this machine, at /score, /health, /rewards and /metrics."""
    from datagen.commands import serve as serving
    from datagen.commands.judge import choices

    serving.serve(choices.choose(judges, settings or []), serving.Options(port, out, max_cost), _say)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@app.command()
def label(
    scores: Annotated[
        list[str],
        typer.Argument(metavar="SCORES...", help="What datagen judge wrote; files of several judges are joined."),
    ],
    out: Annotated[
        Path, typer.Option(parser=path, metavar="PATH", help="Run directory to make; a new one, or the same again.")
    ],
    by: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Compare images that have this column of the scores in common, too."),
    ] = None,
    pairs: Annotated[
        bool, typer.Option("--pairs", help="The scores must be of pairs; those are kept as they are.")
    ] = False,
    known: Annotated[
        Path | None,
        typer.Option(parser=path, metavar="CSV", help="Labels of people that calibrate: pair_id, label."),
    ] = None,
    known_column: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Or those of the pairs themselves: label, if judged with --labels."),
    ] = None,
    images: Annotated[
        Path | None, typer.Option(parser=path, metavar="PATH", help="Where the images are, if they were moved.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="labels.KEY=VALUE", help="A rule of labels, e.g. labels.min_probability=0.95."),
    ] = None,
) -> None:
    """Make a labelled run, with dataset, of images that exist and are judged."""
    from datagen import progress
    from datagen.commands import label as labelling

    options = labelling.Options(by, pairs, known, known_column, images, tuple(settings or ()))
    with progress.Display() as display:
        made = labelling.label_scores(
            [path(file) for file in scores], out, options, say=display.say, progress=display.show
        )
    print("\n".join([*closing(made.summary), *made.notes]))
    refuse_empty(made.summary)


@app.command()
def audit(
    run: Annotated[
        Path,
        typer.Argument(parser=run_place, metavar="RUN", help="A finished run directory, or what datagen judge wrote."),
    ],
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Judge the judges: what they do, how far they agree, what else predicts the labels, what the splits share.

    Writes audit.json into the run, or beside the file of scores.
    """
    from rich.console import Console

    from datagen import progress, store
    from datagen.commands import audit as audits
    from datagen.commands.audit import table

    with progress.Display() as display:
        found, file = audits.audit(run, display.show)
    if json:
        print(audits.as_json(found), end="")
    else:
        table.show(found, Console())
        print(f"written to {store.Run(file.parent).files.name(file)}")
