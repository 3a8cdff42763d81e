"""Commands that make a dataset: run, write, slurm, estimate, relabel, status."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from datagen.cli.ending import closing, refuse_empty
from datagen.cli.options import Batch, MaxCost, Overrides, ProfileName, RecipeName, path, run_place
from datagen.cli.program import app
from datagen.errors import InputError

if TYPE_CHECKING:
    from datagen.recipe import Recipe
    from datagen.store import Share


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
        processes = workers or executors.default_workers(loaded.profile(name), executor)
        if share is not None:
            done = build.run_share(
                loaded,
                name,
                out,
                share,
                executor=executor,
                workers=processes,
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
            workers=processes,
            max_cost=max_cost,
            batch=batch,
            say=display.say,
            progress=display.show,
        )
    print("\n".join(closing(summary)))
    refuse_empty(summary)


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
    run: Annotated[
        Path, typer.Argument(parser=run_place, metavar="RUN", help="A run directory whose images are judged.")
    ],
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
    print("\n".join([*closing(summary), *relabelling.learnt(summary)]))
    refuse_empty(summary)


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
