"""The command line; the only place where an error becomes a message.

Results go to stdout, progress and errors to stderr. Exit code 0: done; 1: shards failed, rerun, or what was to be
printed cannot be written; 2: something given cannot be used; 130: interrupted, and nothing finished is lost. Heavy
imports wait inside the commands.
"""

from __future__ import annotations

import math
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from typer.exceptions import TyperException

from datagen import objects, version
from datagen.console.command_line import Program
from datagen.console.streams import guarded
from datagen.errors import DatagenError, InputError, MachineryError

if TYPE_CHECKING:
    from datagen.pipeline.plan import Summary
    from datagen.recipe import Recipe
    from datagen.store import Share

app = Program(
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: rich and what it reads take longer to load than all the rest
    context_settings={"help_option_names": ["-h", "--help"]},
)


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


def path(text: str) -> Path:
    """A path that was given; an empty one, as of a variable that is not set, would be the current folder."""
    if not text.strip():
        raise typer.BadParameter("it is empty: give a path, or . for the current folder")
    if text.strip().partition("://")[0].lower() in objects.SCHEMES and "://" in text:
        raise typer.BadParameter(f"{text} is on an object store, and this takes a path: copy it to this machine first")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:  # ~name of nobody
        raise typer.BadParameter(f"{text}: {error}") from error


def run_place(text: str) -> Path:
    """A run directory that was given, or the address of one on an object store, of which a folder here has copies."""
    if not objects.is_address(text):
        return path(text)
    from datagen import store

    return store.copy_of(objects.parse(text))


def dollars(text: str) -> float:
    """An amount that can be compared with a bill; NaN cannot."""
    try:
        amount = float(text)
    except ValueError:
        amount = math.nan
    if not amount >= 0:
        raise typer.BadParameter(f"{text!r} is no amount of dollars: give 0 or more, e.g. 2.50")
    return amount


# What several commands take.
RecipeName = Annotated[str, typer.Argument(help="Name of a recipe (datagen list recipes) or path of a .toml file.")]
ProfileName = Annotated[str, typer.Option(help="One of the recipe's; auto takes what this machine serves.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a recipe value, e.g. prompts.count=8."),
]
MaxCost = Annotated[
    float | None, typer.Option(parser=dollars, metavar="DOLLARS", help="Dollars that all LLM calls in --out may cost.")
]
Batch = Annotated[
    bool, typer.Option("--batch", help="Ask the LLM through OpenAI's Batch API: half the price, hours to wait.")
]


@app.callback()
def datagen(
    context: typer.Context,
    show_version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    """Preference datasets for text-to-image models, without human labels."""
    if show_version:
        print(f"datagen {version()}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command()
def run(
    recipe: RecipeName,
    out: Annotated[
        Path,
        typer.Option(
            parser=run_place,
            metavar="PATH",
            help="Run directory, or s3://BUCKET/PREFIX; the same one again resumes it.",
        ),
    ],
    profile: ProfileName = "auto",
    settings: Overrides = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Make at most this many prompts.")] = None,
    executor: Annotated[str, typer.Option(help="What runs the shards (datagen list executors).")] = "local",
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes; default: one a core for the embedded model; on Ray, all that fit."),
    ] = None,
    max_cost: MaxCost = None,
    batch: Batch = False,
    stage: Annotated[
        str | None, typer.Option(help="Do this stage alone, of a run whose prompts are written; others may do others.")
    ] = None,
    shard: Annotated[str | None, typer.Option(metavar="I/N", help="Do this share of its shards alone.")] = None,
) -> None:
    """Build a dataset from a recipe; the same command again resumes it."""
    from datagen import executors, progress
    from datagen.commands import hints
    from datagen.pipeline import build

    share = _share(stage, shard)
    if share is not None and batch:
        raise InputError(
            "--batch is for what is written before any stage that --stage names: give it to datagen write"
        )
    loaded = _load(recipe, settings, limit)
    with progress.Display() as display:
        name, why = _profile(loaded, profile, out)
        display.say(f"profile {name}: {why}")
        for hint in hints.hints(loaded.profile(name)):
            display.say(f"hint: {hint}")
        if share is not None:
            done = build.run_share(
                loaded,
                name,
                out,
                share,
                executor=executor,
                workers=workers or executors.default_workers(loaded.profile(name), executor),
                max_cost=max_cost,
                say=display.say,
                progress=display.show,
            )
            print(done.line())
            return
        summary = build.run(
            loaded,
            name,
            out,
            executor=executor,
            workers=workers or executors.default_workers(loaded.profile(name), executor),
            max_cost=max_cost,
            batch=batch,
            say=display.say,
            progress=display.show,
        )
    print("\n".join(_closing(summary)))
    _refuse_empty(summary)


def _refuse_empty(summary: Summary) -> None:
    """MachineryError for a dataset without a pair."""
    from datagen import records

    if summary.rows("prompts") and not sum(summary.splits.values()):
        reasons = records.in_words(summary.plans["pairs"].drops())
        raise MachineryError(f"no pair passed, so there is nothing to train on (dropped: {reasons or 'none'})")


def _share(stage: str | None, shard: str | None) -> Share | None:
    """What --stage and --shard ask for; all of a stage is its only share."""
    from datagen import store

    if stage is None:
        if shard is not None:
            raise InputError("--shard is a share of one stage: give --stage, too, e.g. --stage images")
        return None
    number, _, count = "0/1".partition("/") if shard is None else shard.strip().partition("/")
    if not all(word.isascii() and word.isdecimal() and len(word) < 7 for word in (number, count)):
        raise InputError(f"--shard {shard!r} is no share: give I/N, e.g. 0/4 for the first of four")
    if int(number) >= int(count):
        raise InputError(f"--shard {shard} is no share: I counts from 0 and is less than N, e.g. 0/4 up to 3/4")
    return store.Share(stage, int(number), int(count))


def _load(name: str, settings: list[str] | None, limit: int | None) -> Recipe:
    """The recipe with what --set and --limit change in it."""
    from datagen import recipe as recipes

    loaded = recipes.load(name, settings or [])
    if limit is not None and limit < loaded.prompts.count:
        loaded = recipes.load(name, [*(settings or []), f"prompts.count={limit}"])
    return loaded


def _profile(recipe: Recipe, wanted: str, out: Path, draws: bool = True) -> tuple[str, str]:
    """The profile to use and why; a run that was started keeps its own. One that `draws` is checked whether it can."""
    from datagen import recipe as recipes
    from datagen import store
    from datagen.commands import doctor

    begun = store.Run(out).settings()
    if wanted == recipes.AUTO and begun is not None:
        return recipes.of_run(begun)[1], f"{store.Run(out).name} was started with it"
    name, why = doctor.choose(recipe, wanted)
    if begun is None and draws:  # a finished run no longer needs a model
        why += doctor.check(recipe.profile(name))
    return name, why


def _closing(summary: Summary) -> list[str]:
    """The lines that a finished run ends with."""
    counts = f"{summary.rows('prompts')} prompts, {summary.rows('images')} images, {summary.rows('pairs')} pairs"
    if summary.made == 0:
        return [f"nothing to do: {counts} in {summary.place or summary.dataset}"]
    split = ", ".join(f"{count} {name}" for name, count in summary.splits.items())
    return [f"{counts} ({split}) in {summary.place or summary.dataset}", *summary.losses()]


@app.command()
def write(
    recipe: RecipeName,
    out: Annotated[
        Path | None,
        typer.Option(parser=run_place, metavar="PATH", help="Run directory; datagen run with the same one goes on."),
    ] = None,
    profile: ProfileName = "auto",
    settings: Overrides = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Write at most this many prompts.")] = None,
    max_cost: MaxCost = None,
    batch: Batch = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Make the first call alone and show it, its reply and its cost.")
    ] = False,
) -> None:
    """Write the prompts of a recipe and draw nothing; or see, by one call, how the LLM answers."""
    from datagen import progress
    from datagen.commands import write as writing
    from datagen.pipeline import build

    loaded = _load(recipe, settings, limit)
    if dry_run:
        name, _ = _profile(loaded, profile, out or Path(), draws=False)
        print("\n".join(writing.first_call(loaded, name)))
        return
    if out is None:
        raise InputError("datagen write needs --out, the run directory to write to; or --dry-run, to see one call")
    with progress.Display() as display:
        name, why = _profile(loaded, profile, out, draws=False)
        display.say(f"profile {name}: {why}")
        summary = build.run(
            loaded, name, out, max_cost=max_cost, batch=batch, draws=False, say=display.say, progress=display.show
        )
    print("\n".join(writing.closing(summary, out)))


@app.command()
def slurm(
    recipe: RecipeName,
    out: Annotated[
        Path, typer.Option(parser=path, metavar="PATH", help="Run directory, on storage that all nodes see.")
    ],
    folder: Annotated[
        Path | None, typer.Option(parser=path, metavar="PATH", help="Where to write them; by itself OUT.slurm.")
    ] = None,
    profile: ProfileName = "auto",
    settings: Overrides = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Make at most this many prompts.")] = None,
    tasks: Annotated[
        int | None, typer.Option(min=1, help="Tasks of a stage's array; by itself one a shard, 100 at most.")
    ] = None,
    at_once: Annotated[int | None, typer.Option(min=1, help="How many of them run at a time; by itself all.")] = None,
    sbatch: Annotated[
        list[str] | None,
        typer.Option(metavar="OPTION", help="An option of sbatch for every job, e.g. --sbatch=--partition=gpu."),
    ] = None,
) -> None:
    """Write the sbatch scripts that make a recipe's dataset on a Slurm cluster; nothing is submitted."""
    from datagen import recipe as recipes
    from datagen import store
    from datagen.commands import slurm as jobs

    loaded = _load(recipe, settings, limit)
    begun = store.Run(out).settings()
    if profile == recipes.AUTO and begun is None and len(loaded.profiles) > 1:
        raise InputError(f"give --profile, as this machine is none of the nodes: one of {', '.join(loaded.profiles)}")
    name, _ = _profile(
        loaded, next(iter(loaded.profiles)) if begun is None and profile == recipes.AUTO else profile, out, draws=False
    )
    asked = jobs.Asked(recipe, name, out, settings or [], limit, tasks, at_once, sbatch or [])
    script = jobs.write(loaded, asked, folder or out.with_name(f"{out.name}.slurm"))
    print(f"{script} submits them: bash {script}")


@app.command()
def estimate(
    recipe: RecipeName,
    profile: ProfileName = "auto",
    settings: Overrides = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Of at most this many prompts.")] = None,
    batch: Annotated[bool, typer.Option("--batch", help="At the prices of the Batch API.")] = False,
    probe: Annotated[bool, typer.Option("--probe", help="Draw a few images to see how long they take.")] = False,
) -> None:
    """Estimate what a recipe takes before anything is spent: calls, tokens, cost, GPU hours, disk."""
    from rich.console import Console

    from datagen.commands import doctor
    from datagen.commands import estimate as estimates

    loaded = _load(recipe, settings, limit)
    name, _ = doctor.choose(loaded, profile)
    estimates.show(loaded, name, Console(), batch=batch, probe=probe)


@app.command()
def relabel(
    run: Annotated[Path, typer.Argument(parser=path, metavar="RUN", help="A run directory whose images are judged.")],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="labels.KEY=VALUE", help="A rule of labels, e.g. labels.min_probability=0.95."),
    ] = None,
    people: Annotated[
        Path | None,
        typer.Option(
            parser=path,
            metavar="FILE",
            help="What people said of its pairs: a table, or the export of Label Studio or Argilla.",
        ),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes here.")] = 1,
) -> None:
    """Label a run anew by other rules: no image is drawn and nobody is asked."""
    from datagen import progress, store
    from datagen.commands import relabel as relabelling

    with progress.Display() as display:
        summary = relabelling.relabel(
            store.Run(run), settings or [], people=people, workers=workers, say=display.say, progress=display.show
        )
    print("\n".join([*_closing(summary), *relabelling.learnt(summary)]))
    _refuse_empty(summary)


@app.command()
def status(
    directory: Annotated[Path, typer.Argument(parser=run_place, metavar="RUN", help="A run directory.")],
    watch: Annotated[bool, typer.Option("--watch", help="Show it live until it is finished.")] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Also what takes reading all scores, where they are many.")
    ] = False,
) -> None:
    """Show the progress of a run: shards, rows, errors, seconds, drops and what the LLM cost, by stage."""
    from rich.console import Console

    from datagen.commands import status as report

    if watch:
        from datagen.commands import watch as live

        live.watch(directory, Console())
    report.show(directory, Console(), full)


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
    print("\n".join([*_closing(made.summary), *made.notes]))
    _refuse_empty(made.summary)


@app.command()
def audit(
    run: Annotated[
        Path,
        typer.Argument(parser=path, metavar="RUN", help="A finished run directory, or what datagen judge wrote."),
    ],
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Judge the judges: what they do, how far they agree, what else predicts the labels, what the splits share.

    Writes audit.json into the run, or beside the file of scores.
    """
    from rich.console import Console

    from datagen import progress
    from datagen.commands import audit as audits
    from datagen.commands.audit import table

    with progress.Display() as display:
        found, file = audits.audit(run, display.show)
    if json:
        print(audits.as_json(found), end="")
    else:
        table.show(found, Console())
        print(f"written to {file}")


@app.command()
def report(
    run: Annotated[Path, typer.Argument(parser=path, metavar="RUN", help="A finished run directory.")],
    out: Annotated[
        Path | None,
        typer.Option(parser=path, metavar="PATH", help="File to write; without one, report.html in the run."),
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


def main() -> NoReturn:
    """The entry point of `datagen`."""
    sys.exit(guarded(_exit_code))


def _exit_code() -> int:
    """Do what the command line says."""
    try:
        code = app(prog_name="datagen", standalone_mode=False)
    except TyperException as error:
        return _end(f"{error.format_message()} ({_help_of(error)} lists what it takes)", 2)
    except DatagenError as error:
        return _end(str(error), error.exit_code)
    if code == 130:  # typer turns Ctrl-C into this
        print("interrupted: finished work is kept, the same command resumes", file=sys.stderr)
    return int(code or 0)


def _help_of(error: TyperException) -> str:
    """The command that shows what the refused one takes."""
    context = getattr(error, "ctx", None)
    return f"{'datagen' if context is None else context.command_path} --help"


def _end(message: str, code: int) -> int:
    """Say what is wrong in one line; the exit code."""
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
