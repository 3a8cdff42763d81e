"""Measure a model with and without what was trained: same prompts, same seeds, read by an attribute reader.

`python training/evaluate.py --adapter DIR --prompts OUT/dataset --out REPORT` prints a table and
writes report.json and grid.png (base | adapted). The reader and the parser of prompts are named by dotted path.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a file: make `training` importable as it is under `python -m`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from training import data, metrics
from training.config import EMBEDDED, Parser, TrainingError, amount, count, exit_code, natural
from training.inference import ValueGuide, spread, use_probability
from training.metrics import Sample
from training.sampling import Job, attach_adapter, generate, grid, load_pipeline

CALIBRATION = 32  # images a setting and arm, on seeds that the evaluation does not use


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0, or 2 with one line on stderr."""

    def work() -> None:
        settings = parser().parse_args(arguments)
        show(evaluate(settings))
        print(f"report.json and grid.png are in {settings.out}")

    return exit_code(work)


def parser() -> Parser:
    """The command line."""
    p = Parser(prog="training/evaluate.py", description="Measure a model with and without what was trained.")
    p.add_argument("--model", default=EMBEDDED, help="'embedded' (default), a diffusers folder, or a hub id")
    p.add_argument("--adapter", help="what training wrote; without it only the model itself is measured")
    p.add_argument("--principle", help="value encoder: the principle of every prompt; default: the dataset's own")
    p.add_argument("--prompts", required=True, help="a text file, one prompt a line, or a dataset (its test split)")
    p.add_argument("--limit", type=natural, default=0, help="use at most this many prompts")
    p.add_argument("--images", type=count, default=1, help="images a prompt")
    p.add_argument("--out", required=True, metavar="DIR")
    p.add_argument("--steps", type=count, default=20)
    p.add_argument("--guidance", type=amount, default=4.0)
    p.add_argument("--seed", type=natural, default=0)
    p.add_argument("--batch", type=count, default=16)
    p.add_argument("--device", default="auto")
    p.add_argument("--reader", default="datagen.world.reader:read", help="images → objects with .attributes")
    p.add_argument("--parser", default="datagen.world.captions:parse", help="prompt → the attributes it states")
    p.add_argument("--rates", nargs="*", default=["style", "hazard"], help="attributes to report rates of")
    p.add_argument("--ignore", nargs="*", default=[], help="attributes that do not count in match")
    p.add_argument("--balance", default="coat", help="attribute whose groups should be even")
    p.add_argument("--groups", nargs="+", default=["violet", "amber"])
    p.add_argument("--over", default="occupation", help="stated attribute within which balance is measured")
    p.add_argument(
        "--use-probability",
        type=probability,
        default=1.0,
        help="how often the token is used; 'auto' calibrates it for each value of --over",
    )
    return p


def probability(text: str) -> float | None:
    """A number from 0 to 1, or None for 'auto'."""
    if text == "auto":
        return None
    value = amount(text)
    if value > 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a probability or 'auto'")
    return float(value)


def evaluate(settings: argparse.Namespace) -> dict[str, Any]:
    """The whole evaluation; writes report.json and grid.png into `settings.out` and returns the report."""
    prompts, principles = load_prompts(settings.prompts, settings.principle, settings.limit)
    lab = Lab(settings, prompts, principles)
    out = Path(settings.out)
    out.mkdir(parents=True, exist_ok=True)
    jobs = [
        Job(p, settings.seed + p * settings.images + i, None)
        for p in range(len(prompts))
        for i in range(settings.images)
    ]
    pictures = {"base": lab.images(jobs, "base")}
    samples = {"base": lab.look(jobs, pictures["base"])}
    report: dict[str, Any] = {"settings": vars(settings), "prompts": len(prompts), "images": len(jobs)}
    if settings.adapter:
        lab.guide = attach_adapter(lab.pipe, Path(settings.adapter))
        steered = jobs
        if lab.guide:
            again = lab.images(jobs[: settings.batch], "without token")
            same = (
                np.array_equal(np.asarray(a), np.asarray(b)) for a, b in zip(again, pictures["base"], strict=False)
            )
            report["identical_without_token"] = all(same)
            report["use_probability"] = (
                lab.calibrate() if settings.use_probability is None else settings.use_probability
            )
            steered = lab.with_tokens(jobs, report["use_probability"])
        pictures["adapted"] = lab.images(steered, "adapted")
        samples["adapted"] = lab.look(steered, pictures["adapted"])
    report["figures"] = figures(samples, settings, len(prompts))
    (out / "report.json").write_text(json.dumps(report, indent=2, default=str) + "\n")
    grid(list(pictures.values()), [prompts[j.prompt] for j in jobs]).save(out / "grid.png")
    return report


class Lab:
    """The pipeline, the reader and the prompts of one evaluation; `guide` is set once a value encoder is attached."""

    def __init__(self, settings: argparse.Namespace, prompts: list[str], principles: list[str]) -> None:
        parse = dotted(settings.parser, "--parser")
        self.read = dotted(settings.reader, "--reader")
        self.settings, self.prompts, self.principles = settings, prompts, principles
        self.stated: list[dict[str, object]] = [dict(parse(prompt)) for prompt in prompts]
        self.pipe = load_pipeline(settings.model, settings.device)
        self.guide: ValueGuide | None = None

    def images(self, jobs: Sequence[Job], label: str) -> list[Image.Image]:
        """One picture a job."""
        s = self.settings
        return generate(
            self.pipe,
            self.prompts,
            jobs,
            steps=s.steps,
            guidance=s.guidance,
            batch=s.batch,
            label=label,
            guide=self.guide,
        )

    def look(self, jobs: Sequence[Job], images: Sequence[Image.Image]) -> list[Sample]:
        """What the reader sees in each picture, beside what its prompt states."""
        readings = self.read(images)
        return [Sample(j.prompt, self.stated[j.prompt], r.attributes) for j, r in zip(jobs, readings, strict=True)]

    def setting(self, job: Job) -> str:
        """The stated value within which balance is measured, "" where the prompt has none."""
        return str(self.stated[job.prompt].get(self.settings.over, ""))

    def with_tokens(self, jobs: Sequence[Job], use: float | dict[str, float]) -> list[Job]:
        """The same jobs with the token in the wanted share of each setting's images, spread evenly over them."""
        if not all(self.principles):
            raise TrainingError("a value encoder needs --principle, or a dataset with a column 'principle'")
        members = defaultdict(list)
        for index, job in enumerate(jobs):
            members[self.setting(job)].append(index)
        made = list(jobs)
        for setting, indices in members.items():
            share = use if isinstance(use, float) else use.get(setting, 1.0)
            for index, used in zip(indices, spread(share, len(indices), self.settings.seed), strict=True):
                if used:
                    made[index] = dataclasses.replace(jobs[index], principle=self.principles[jobs[index].prompt])
        return made

    def calibrate(self) -> dict[str, float]:
        """For each value of `--over`, how often to use the token: from images with and without it, on other seeds."""
        open_prompts = defaultdict(list)
        for index, attributes in enumerate(self.stated):
            if self.settings.over in attributes and self.settings.balance not in attributes:
                open_prompts[str(attributes[self.settings.over])].append(index)
        uses = {}
        for number, (setting, indices) in enumerate(sorted(open_prompts.items())):
            first = self.settings.seed + 1_000_000 + number * CALIBRATION
            plain = [Job(indices[i % len(indices)], first + i, None) for i in range(CALIBRATION)]
            base, token = (
                self.shares(jobs, f"calibrating {setting}, {label}")
                for jobs, label in ((plain, "base"), (self.with_tokens(plain, 1.0), "token"))
            )
            minority = int(np.argmin(base))
            uses[setting] = use_probability(base[minority], token[minority])
        return uses

    def shares(self, jobs: Sequence[Job], label: str) -> list[float]:
        """Share of each group among the pictures of these jobs."""
        shown = [s.shown.get(self.settings.balance) for s in self.look(jobs, self.images(jobs, label))]
        return [shown.count(group) / len(shown) for group in self.settings.groups]


def dotted(path: str, option: str) -> Callable[..., Any]:
    """The function at `package.module:name`. Raises TrainingError naming the option."""
    module, _, name = path.partition(":")
    try:
        found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise TrainingError(f"{option} {path!r} cannot be loaded ({error}); give package.module:function") from error
    return found


def load_prompts(source: str, principle: str | None, limit: int) -> tuple[list[str], list[str]]:
    """Distinct prompts in order, each with its principle ("" where none is known)."""
    path = Path(source)
    if path.is_file() and path.suffix != ".parquet":
        rows = [(line.strip(), "") for line in path.read_text().splitlines() if line.strip()]
    else:
        rows = []
        for file in data.find_files(source, "test"):
            table = data.read_table(file)
            names = table.column_names
            column = next((n for n in ("prompt", "caption") if n in names), None)
            if column is None:
                raise TrainingError(f"{file.name} has no column 'prompt' or 'caption'; it has {', '.join(names)}")
            values = table["principle"].to_pylist() if "principle" in names else [""] * table.num_rows
            rows += zip(table[column].to_pylist(), values, strict=True)
    rows = list(dict.fromkeys((prompt, principle or value) for prompt, value in rows))
    rows = rows[:limit] if limit else rows
    if not rows:
        raise TrainingError(f"{source} holds no prompts")
    return [prompt for prompt, _ in rows], [value for _, value in rows]


def figures(
    samples: Mapping[str, Sequence[Sample]], settings: argparse.Namespace, prompts: int
) -> dict[str, dict[str, Any]]:
    """Figure → {arm: interval, "change": interval}; see metrics.py for what each name means."""
    rows = metrics.resamples(prompts, settings.seed)
    seen = [s for arm in samples.values() for s in arm]
    shares: dict[str, dict[str, metrics.Share]] = {}
    table: dict[str, dict[str, Any]] = defaultdict(dict)
    for arm, taken in samples.items():
        found = metrics.match(taken, settings.ignore, prompts)
        for name in settings.rates:
            values = {s.shown[name] for s in seen if name in s.shown}
            found |= metrics.rates(taken, name, values, prompts)
        for name, part in found.items():
            shares.setdefault(name, {})[arm] = part
            table[name][arm] = dataclasses.asdict(metrics.interval(part, rows))
        even = metrics.balance(taken, settings.balance, settings.over, settings.groups, prompts)
        if even.settings:
            for name, mean in metrics.mean_distances(even, rows).items():
                table[f"{settings.balance}.{name}"][arm] = dataclasses.asdict(mean)
            for setting, value in zip(even.settings, even.distances()[0].tolist(), strict=True):
                table[f"{settings.balance}.D1.{setting}"][arm] = {"value": value}
    for name, arms in shares.items():
        if len(arms) == 2:
            table[name]["change"] = dataclasses.asdict(metrics.change(arms["base"], arms["adapted"], rows))
    return dict(table)


def show(report: Mapping[str, Any]) -> None:
    """The figures as a table on stdout, in per cent."""

    def cell(figure: Mapping[str, Any] | None) -> str:
        if not figure:
            return ""
        text = f"{100 * figure['value']:.1f}"
        return f"{text} [{100 * figure['low']:.1f}, {100 * figure['high']:.1f}]" if "low" in figure else text

    table = Table("figure, %", "base", "adapted", "change", "images")
    for name, arms in report["figures"].items():
        images = str(next(iter(arms.values())).get("images", ""))
        table.add_row(name, cell(arms.get("base")), cell(arms.get("adapted")), cell(arms.get("change")), images)
    Console(width=110).print(table)
    if "identical_without_token" in report:
        print(f"without a token, images identical to the base model's: {report['identical_without_token']}")
    if isinstance(report.get("use_probability"), dict):
        for setting, value in report["use_probability"].items():
            print(f"token used for {setting}: {value:.2f}")


if __name__ == "__main__":
    sys.exit(main())
