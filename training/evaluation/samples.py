"""Base against aligned, same prompts, same seeds, in one PNG; principles are given or retrieved."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from training.errors import TrainingError
from training.evaluation.first_look import is_blank
from training.evaluation.prompts import load as load_prompts
from training.inference import retriever
from training.inference.adapter import base_of, check_fits
from training.inference.principles import load_principles
from training.inference.retriever import Choice, Retriever
from training.inference.sampling import Job, attach_adapter, generate, grid, load_pipeline
from training.settings.sampling import Principles, Settings


def sample(settings: Settings) -> None:
    """The whole program; writes the PNG. Raises TrainingError."""
    drawn, given = settings.drawn, settings.principles
    prompts = list(dict.fromkeys(load_prompts(drawn.prompts, (), 0)[0]))
    adapter = Path(drawn.adapter).expanduser()
    model = base_of([adapter], drawn.model)
    if (adapter / "value_encoder").is_dir() and not (given.principle or given.retrieve):
        raise TrainingError("a value encoder does nothing without a principle: give --principle or --retrieve")
    pipe = load_pipeline(model.model, settings.job.device, model.revision)
    check_fits(pipe, adapter, model.model)
    choices = choose(given, prompts, pipe)
    chosen = [tuple(choice.principle for choice in row) for row in choices]
    seeds = range(drawn.seed, drawn.seed + drawn.seeds)
    plain = [Job(p, seed) for seed in seeds for p in range(len(prompts))]
    steered = [Job(job.prompt, job.seed, chosen[job.prompt]) for job in plain]
    how: dict[str, Any] = {"steps": drawn.steps, "guidance": drawn.guidance, "batch": settings.job.batch}
    base = generate(pipe, prompts, plain, label="base", **how)
    guide = attach_adapter(pipe, adapter)
    aligned = generate(pipe, prompts, steered, label="aligned", guide=guide, **how)
    captions = [caption(prompt, row) if guide else prompt for prompt, row in zip(prompts, choices, strict=True)]
    columns, titles = [], []
    for number, seed in enumerate(seeds):
        rows = slice(number * len(prompts), (number + 1) * len(prompts))
        columns += [base[rows], aligned[rows]]
        titles += [f"base, seed {seed}", f"aligned, seed {seed}"]
    out = Path(settings.job.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    grid(columns, captions, titles, rows=len(prompts)).save(out, "PNG")
    if guide:
        print("\n".join(captions))
    for note in [model.note] if model.note else []:
        print(f"note: {note}")
    for arm, pictures in (("base", base), ("aligned", aligned)):
        if blank := sum(map(is_blank, pictures)):
            print(f"note: {blank} of {len(pictures)} {arm} pictures are of one colour")
    if all(np.array_equal(np.asarray(one), np.asarray(other)) for one, other in zip(base, aligned, strict=True)):
        print("note: the aligned pictures are the base model's to the last pixel: what was trained does nothing here")
    print(f"saved to {out}")


def choose(given: Principles, prompts: Sequence[str], pipe: Any) -> list[tuple[Choice, ...]]:
    """The principles of each prompt: those given for all, or those retrieved."""
    if not given.retrieve:
        return [tuple(Choice(principle, 1.0, "given") for principle in given.principle)] * len(prompts)
    if given.principle:
        raise TrainingError("--principle is for every prompt, --retrieve finds each prompt's own: give one of the two")
    return make_retriever(given, pipe)(prompts)


def make_retriever(given: Principles, pipe: Any) -> Retriever:
    """The retriever that the command line asks for. Raises TrainingError."""
    if not given.principles:
        raise TrainingError("--retrieve chooses from --principles: give a TOML or JSON file, or a dataset")
    principles, background = load_principles(given.principles)
    at_most = given.at_most
    if given.retrieve == "keywords":
        return retriever.Keywords(principles, at_most=at_most)
    if given.retrieve == "llm":
        if not given.llm:
            raise TrainingError("--retrieve llm needs --llm, the name of the model")
        return retriever.LanguageModel(principles, given.llm, base_url=given.base_url or None, at_most=at_most)
    return retriever.Embeddings(
        principles,
        retriever.sentence_encoder(given.sentences) if given.sentences else retriever.pipeline_encoder(pipe),
        background=background,
        threshold=given.threshold,
        at_most=at_most,
    )


def caption(prompt: str, choices: Sequence[Choice]) -> str:
    """The prompt and what was chosen for it."""
    listed = ", ".join(f"{c.principle} ({c.score:.2f}, {c.why})" for c in choices)
    return f"{prompt} | {listed or 'no principle'}"
