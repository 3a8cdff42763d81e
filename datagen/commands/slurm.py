"""A recipe as jobs of a Slurm cluster: one that writes, an array of shares a stage, one that finishes.

Each script is a few lines around `datagen run --stage … --shard …`; who wants them otherwise changes them. Nothing is
submitted, and no key is written down: sbatch passes the environment on.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from datagen import recipe as recipes
from datagen import store
from datagen.errors import InputError
from datagen.pipeline import plan
from datagen.writers import negative

TASKS = 100  # of an array, where nothing else is asked for: each takes some ten seconds to start
MOST_TASKS = 1001  # Slurm's own MaxArraySize, where scontrol does not say
RESTARTS = 3  # of a task that was killed or whose shards failed in both attempts, as on a node that is not sound
WARNING_S = 120  # before its time is over, a task puts itself back into the queue
SUBMIT = "submit.sh"


@dataclasses.dataclass(frozen=True)
class Asked:
    """What is to be run: the command's own words, and what Slurm is to give to each job."""

    recipe: str  # a name, or the path of a file
    profile: str
    out: Path
    settings: Sequence[str] = ()
    limit: int | None = None
    tasks: int | None = None
    at_once: int | None = None
    options: Sequence[str] = ()  # of sbatch, for every job


@dataclasses.dataclass(frozen=True)
class Job:
    """One script: what it is called, what it runs, and after which."""

    name: str
    words: list[str]
    tasks: int = 0  # of an array; 0: a job of its own
    gpus: int = 0
    after: str = ""  # how it depends on the one before


def write(recipe: recipes.Recipe, asked: Asked, folder: Path) -> Path:
    """Write the scripts of a recipe into a folder; the path of the one that submits the others.

    Raises InputError for what Slurm would refuse, or read as something else.
    """
    for text in (*asked.options, str(folder.absolute()), str(Path.cwd())):
        if not text.isprintable() or '"' in text or "%" in text:
            raise InputError(f"{text!r} cannot stand in an #SBATCH line: leave out quotation marks, % and line breaks")
    for option in asked.options:
        if not re.match(r"--?[a-zA-Z]", option):
            raise InputError(f"--sbatch {option!r} is no option of sbatch: give e.g. --sbatch=--partition=gpu")
    found = list(_jobs(recipe, asked))
    for number, job in enumerate(found):
        _put(folder / _file(number, job), _script(job, asked, folder))
    _put(folder / SUBMIT, _submit(found, folder))
    (folder / "logs").mkdir(exist_ok=True)
    return folder / SUBMIT


def _put(path: Path, text: str) -> None:
    store.write_file(path, lambda file: file.write(text.encode()))


def _jobs(recipe: recipes.Recipe, asked: Asked) -> list[Job]:
    shards = -(-(recipe.prompts.count + negative.planned(recipe)) // recipe.images.shard_size)
    tasks = _tasks(shards, asked.tasks)
    profile = recipe.profile(asked.profile)
    found = [Job("write", _words("write", asked))]
    for stage in plan.STAGES[len(plan.before_sharing(plan.STAGES)) :]:
        if stage.whole:
            break
        words = [*_words("run", asked), "--workers", "1", "--stage", stage.name]
        after = "aftercorr" if found[-1].tasks else "afterok"  # a share follows the same share of the stage before
        # What asks a server keeps its account on one machine; the server draws or judges many at a time for it.
        own = 1 if stage.one_machine(profile) else tasks
        if found[-1].tasks and found[-1].tasks != own:
            after = "afterok"
        found.append(Job(stage.name, words, own, stage.gpus(profile), after))
    return [*found, Job("finish", _words("run", asked), after="afterok")]


def _words(verb: str, asked: Asked) -> list[str]:
    """The command of a job, by paths that hold from any folder."""
    recipe = str(Path(asked.recipe).absolute()) if Path(asked.recipe).is_file() else asked.recipe
    words = [sys.executable, "-m", "datagen", verb, recipe, "--out", str(asked.out.absolute())]
    words += ["--profile", asked.profile]
    words += [word for setting in asked.settings for word in ("--set", setting)]
    return words + ([] if asked.limit is None else ["--limit", str(asked.limit)])


def _tasks(shards: int, wanted: int | None) -> int:
    """How many tasks an array has; InputError if the cluster takes no array so large."""
    most = _most_tasks()
    if wanted is not None and wanted > most:
        raise InputError(
            f"--tasks {wanted} is more than an array of this cluster holds, {most} (MaxArraySize): give {most} or "
            "fewer, a task may do any number of shards"
        )
    return min(shards, wanted or min(TASKS, most))


def _most_tasks() -> int:
    """The cluster's MaxArraySize; Slurm's own where it cannot be asked."""
    try:
        told = subprocess.run(["scontrol", "show", "config"], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return MOST_TASKS
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", told.stdout, re.M)
    return max(1, int(found[1])) if found else MOST_TASKS


def _file(number: int, job: Job) -> str:
    return f"{number + 1}-{job.name}.sbatch"


def _script(job: Job, asked: Asked, folder: Path) -> str:
    """One job as sbatch takes it."""
    logs = folder.absolute() / "logs"
    lines = [f"--job-name=datagen-{job.name}", f'--chdir="{Path.cwd()}"', "--requeue", "--open-mode=append"]
    lines.append(f'--output="{logs}/%x-{"%A_%a" if job.tasks else "%j"}.log"')
    lines.append(f"--signal=B:USR1@{WARNING_S}")
    if job.tasks:
        lines.append(f"--array=0-{job.tasks - 1}" + (f"%{asked.at_once}" if asked.at_once else ""))
    if job.gpus:
        lines.append(f"--gres=gpu:{job.gpus}")
    head = "\n".join(f"#SBATCH {line}" for line in (*lines, *asked.options))
    command = shlex.join(job.words)
    if job.tasks:
        command += f' --shard "$SLURM_ARRAY_TASK_ID/{job.tasks}"'
        me = '"${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"'
    else:
        me = '"$SLURM_JOB_ID"'
    return f"""#!/bin/bash
{head}

# Back into the queue, as this task of this array: before its time is over, and after all but a refusal (2).
again() {{
  kill "$work" 2>/dev/null
  echo "datagen: back into the queue"
  scontrol requeue {me}
  sleep 600
}}
trap again USR1

{command} &
work=$!
wait "$work"
code=$?
if [ "$code" -ne 0 ] && [ "$code" -ne 2 ] && [ "${{SLURM_RESTART_COUNT:-0}}" -lt {RESTARTS} ]; then again; fi
exit "$code"
"""


def _submit(jobs: Sequence[Job], folder: Path) -> str:
    """The script that hands them all to Slurm, each to begin when what it needs is done."""
    lines = []
    for number, job in enumerate(jobs):
        after = f' --dependency="{job.after}:$job" --kill-on-invalid-dep=yes' if job.after else ""
        script = shlex.quote(str(folder.absolute() / _file(number, job)))
        lines.append(f"job=$(sbatch --parsable{after} {script} | cut -d';' -f1)\necho \"{job.name}: job $job\"")
    body = "\n".join(lines)
    return f"""#!/bin/bash
# Submits the jobs of a run; the same again goes on with it, as finished shards are kept.
set -euo pipefail
{body}
"""
