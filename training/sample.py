"""Look at what training did: base against aligned, same prompts, same seeds, in one PNG.

`python training/sample.py --adapter DIR --prompts FILE --principle TEXT --out grid.png`; with `--retrieve` each prompt
gets the principles that are at stake in it, or none, and the grid and the terminal say which and how clearly.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a file: make `training` importable as it is under `python -m`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from training.config import EMBEDDED, Parser, amount, count, natural
from training.errors import TrainingError, exit_code
from training.evaluation.prompts import load as load_prompts
from training.inference import retriever
from training.inference.principles import load_principles
from training.inference.retriever import Choice, Retriever
from training.inference.sampling import Job, attach_adapter, generate, grid, load_pipeline


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0, or 2 with one line on stderr."""
    return exit_code(lambda: sample(parser().parse_args(arguments)))


def parser() -> Parser:
    """The command line."""
    p = Parser(prog="training/sample.py", description="Draw prompts with and without what was trained, side by side.")
    p.add_argument("--model", default=EMBEDDED, help="'embedded' (default), a diffusers folder, or a hub id")
    p.add_argument("--adapter", required=True, metavar="DIR", help="what training wrote")
    p.add_argument("--prompts", required=True, help="a text file, one prompt a line, or a dataset (its test split)")
    p.add_argument("--out", required=True, metavar="PNG")
    p.add_argument("--seeds", type=count, default=2, help="images a prompt and column pair")
    p.add_argument("--seed", type=natural, default=0, help="the first of them")
    p.add_argument("--steps", type=count, default=20)
    p.add_argument("--guidance", type=amount, default=4.0)
    p.add_argument("--batch", type=count, default=16)
    p.add_argument("--device", default="auto")
    values = p.add_argument_group("for a value encoder")
    values.add_argument("--principle", action="append", default=[], help="for every prompt; may be given again")
    values.add_argument(
        "--retrieve", choices=["keywords", "embeddings", "llm"], help="a prompt's own, from --principles"
    )
    values.add_argument("--principles", help="a TOML or JSON file, or a dataset: what --retrieve chooses from")
    values.add_argument("--at-most", type=count, default=1, help="principles that --retrieve gives a prompt")
    values.add_argument("--threshold", type=amount, default=0.05, help="embeddings: the least score")
    values.add_argument(
        "--sentences", metavar="DIR", help="embeddings: a sentence-transformers folder; default: the model's"
    )
    values.add_argument("--llm", metavar="NAME", help="llm: the model; the key is read from OPENAI_API_KEY")
    values.add_argument("--base-url", help="llm: the server, where it is not OpenAI's")
    return p


def sample(settings: argparse.Namespace) -> None:
    """The whole program; writes the PNG. Raises TrainingError."""
    prompts = list(dict.fromkeys(load_prompts(settings.prompts, (), 0)[0]))
    if (Path(settings.adapter) / "value_encoder").is_dir() and not (settings.principle or settings.retrieve):
        raise TrainingError("a value encoder does nothing without a principle: give --principle or --retrieve")
    pipe = load_pipeline(settings.model, settings.device)
    choices = choose(settings, prompts, pipe)
    chosen = [tuple(choice.principle for choice in row) for row in choices]
    seeds = range(settings.seed, settings.seed + settings.seeds)
    plain = [Job(p, seed) for seed in seeds for p in range(len(prompts))]
    steered = [Job(job.prompt, job.seed, chosen[job.prompt]) for job in plain]
    how: dict[str, Any] = {name: getattr(settings, name) for name in ("steps", "guidance", "batch")}
    base = generate(pipe, prompts, plain, label="base", **how)
    guide = attach_adapter(pipe, Path(settings.adapter))
    aligned = generate(pipe, prompts, steered, label="aligned", guide=guide, **how)
    captions = [caption(prompt, row) if guide else prompt for prompt, row in zip(prompts, choices, strict=True)]
    columns, titles = [], []
    for number, seed in enumerate(seeds):
        rows = slice(number * len(prompts), (number + 1) * len(prompts))
        columns += [base[rows], aligned[rows]]
        titles += [f"base, seed {seed}", f"aligned, seed {seed}"]
    out = Path(settings.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    grid(columns, captions, titles, rows=len(prompts)).save(out, "PNG")
    if guide:
        print("\n".join(captions))
    print(f"saved to {out}")


def choose(settings: argparse.Namespace, prompts: Sequence[str], pipe: Any) -> list[tuple[Choice, ...]]:
    """The principles of each prompt: those given for all, or those retrieved."""
    if not settings.retrieve:
        return [tuple(Choice(principle, 1.0, "given") for principle in settings.principle)] * len(prompts)
    if settings.principle:
        raise TrainingError("--principle is for every prompt, --retrieve finds each prompt's own: give one of the two")
    return make_retriever(settings, pipe)(prompts)


def make_retriever(settings: argparse.Namespace, pipe: Any) -> Retriever:
    """The retriever that the command line asks for. Raises TrainingError."""
    if not settings.principles:
        raise TrainingError("--retrieve chooses from --principles: give a TOML or JSON file, or a dataset")
    principles, background = load_principles(settings.principles)
    at_most = settings.at_most
    if settings.retrieve == "keywords":
        return retriever.Keywords(principles, at_most=at_most)
    if settings.retrieve == "llm":
        if not settings.llm:
            raise TrainingError("--retrieve llm needs --llm, the name of the model")
        return retriever.LanguageModel(principles, settings.llm, base_url=settings.base_url, at_most=at_most)
    return retriever.Embeddings(
        principles,
        retriever.sentence_encoder(settings.sentences) if settings.sentences else retriever.pipeline_encoder(pipe),
        background=background,
        threshold=settings.threshold,
        at_most=at_most,
    )


def caption(prompt: str, choices: Sequence[Choice]) -> str:
    """The prompt and what was chosen for it."""
    listed = ", ".join(f"{c.principle} ({c.score:.2f}, {c.why})" for c in choices)
    return f"{prompt} | {listed or 'no principle'}"


if __name__ == "__main__":
    sys.exit(main())
