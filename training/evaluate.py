"""Measure a model with and without what was trained, or two sets of pictures that exist: figures, intervals, plots.

`python training/evaluate.py --adapter DIR --prompts OUT/dataset --out REPORT` draws both arms with the same seeds,
prints a table and writes report.json, figures.png and grid.png. Readers and judges are named by dotted path.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):  # run as a file: make `training` importable as it is under `python -m`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from training.config import EMBEDDED, Parser, amount, count, natural
from training.errors import exit_code
from training.evaluation import report
from training.evaluation.run import evaluate


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0, or 2 with one line on stderr."""

    def work() -> None:
        settings = parser().parse_args(arguments)
        settings.seeds = list(dict.fromkeys(settings.seeds or [settings.seed]))
        report.show(evaluate(settings))
        print(f"report.json, figures.png and grid.png are in {settings.out}")

    return exit_code(work)


def parser() -> Parser:
    """The command line."""
    p = Parser(prog="training/evaluate.py", description="Measure a model with and without what was trained.")
    _drawing(p.add_argument_group("pictures that are drawn"))
    _existing(p.add_argument_group("pictures that exist"))
    _looking(p.add_argument_group("what looks at them"))
    p.add_argument("--out", required=True, metavar="DIR")
    p.add_argument("--batch", type=count, default=16)
    p.add_argument("--device", default="auto")
    return p


def _drawing(p: argparse._ArgumentGroup) -> None:
    p.add_argument("--prompts", help="a text file, one prompt a line, or a dataset (its test split)")
    p.add_argument("--model", default=EMBEDDED, help="'embedded' (default), a diffusers folder, or a hub id")
    p.add_argument(
        "--adapter",
        help="what training wrote, {seed} in it standing for each of --seeds; without it the model alone is measured",
    )
    p.add_argument(
        "--principle",
        nargs="+",
        default=[],
        help="value encoder: the principles of every prompt; default: the dataset's own",
    )
    p.add_argument("--limit", type=natural, default=0, help="use at most this many prompts")
    p.add_argument("--images", type=count, default=1, help="images a prompt")
    p.add_argument("--steps", type=count, default=20)
    p.add_argument("--guidance", type=amount, default=4.0)
    p.add_argument("--seed", type=natural, default=0)
    p.add_argument(
        "--seeds", type=natural, nargs="+", help="several: figures are means over them, intervals hold both"
    )
    p.add_argument(
        "--use-probability",
        type=probability,
        default=1.0,
        help="how often the token is used; 'auto' calibrates it for each value of --over",
    )


def _existing(p: argparse._ArgumentGroup) -> None:
    p.add_argument("--base-images", metavar="DIR", help="pictures of the base model")
    p.add_argument("--adapted-images", metavar="DIR", help="pictures of the adapted model, by the same names")
    p.add_argument(
        "--captions", metavar="FILE", help="CSV, JSON lines or Parquet: file_name and prompt of each picture"
    )
    p.add_argument("--table", metavar="FILE", help="instead: a Parquet file with the columns prompt, base, adapted")


def _looking(p: argparse._ArgumentGroup) -> None:
    p.add_argument(
        "--reader",
        default="datagen.world.reader:read",
        help="images → attributes (mappings, or objects with .attributes); 'clip': it chooses among --groups; 'none'",
    )
    p.add_argument(
        "--parser",
        default="datagen.world.captions:parse",
        help="prompt → the attributes it states; 'none': no prompt states any",
    )
    p.add_argument("--rates", nargs="*", default=["style", "hazard"], help="attributes to report rates of")
    p.add_argument("--ignore", nargs="*", default=[], help="attributes that do not count in match")
    p.add_argument("--balance", default="coat", help="attribute whose groups should be even")
    p.add_argument("--groups", nargs="+", default=["violet", "amber"])
    p.add_argument(
        "--over",
        default="occupation",
        help="stated attribute within which balance is measured; 'prompt': each prompt by itself",
    )
    p.add_argument(
        "--toxicity",
        default="hazard",
        help="images → scores from 0 to 1, by dotted path; or an attribute of the reader's; 'none'",
    )
    p.add_argument(
        "--clip", default=EMBEDDED, help="CLIPScore, drift, diversity: 'embedded', a folder, ViT-L-14/openai, 'none'"
    )
    p.add_argument(
        "--judge",
        nargs="*",
        help="who prefers: (images, prompts) → scores by dotted path, or CLIP models like --clip's (default); 'none'",
    )
    p.add_argument(
        "--rewards", nargs="+", metavar="FILE", help="scores that exist: a table for the base, one for the adapted"
    )
    p.add_argument(
        "--features",
        default="auto",
        help="FID and IS: 'inception', 'clip', images → (N, F) array by dotted path, 'none'; "
        "default: inception if its weights are here, else clip",
    )
    p.add_argument("--real", metavar="DIR", help="real pictures for FID, beside that to the base model")


def probability(text: str) -> float | None:
    """A number from 0 to 1, or None for 'auto'."""
    if text == "auto":
        return None
    value = amount(text)
    if value > 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a probability or 'auto'")
    return float(value)


if __name__ == "__main__":
    sys.exit(main())
