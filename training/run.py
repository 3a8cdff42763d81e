"""The training program, top to bottom: settings, model, samples, cache, method, loop, result.

`python training/run.py --data OUT/dataset --method mapo --out DIR`, or under `accelerate launch`. All randomness is a
function of (seed, step, place): the same command gives the same weights on a CPU, interrupted or not. A finished DIR
is left alone; one of another command is refused.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):  # run as a file: make `training` importable as it is under `python -m`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import torch

from training import config, data, trainables
from training.cache import latents
from training.config import Config
from training.errors import TrainingError, exit_code
from training.loop import batches, checkpoint, distributed
from training.loop.batches import Batches
from training.loop.checkpoint import Checkpoints
from training.loop.clip_similarity import Similarity
from training.loop.distributed import Team
from training.loop.grids import Grids
from training.loop.objective import Objective
from training.loop.tracking import LOG_EVERY, Tracker
from training.loop.update import Update, is_memory_error, pick_precision
from training.losses import LOSSES, Need
from training.models import diffusion
from training.progress import Progress
from training.trainables import Method


def train(settings: Config, team: Team) -> None:
    """One run, from settings to saved weights. Raises TrainingError."""
    out = Path(settings.out)
    pairs = data.load(settings.data, limit=settings.limit)
    check_columns(pairs, settings)
    check_team(settings, team)
    identity = {**settings.result(), "data_digest": pairs.digest(), "pairs": len(pairs)}
    if checkpoint.finished(out, identity):
        checkpoint.clear(out, team)
        say(team, f"{out} already holds this run; nothing to do")
        return
    samples = batches.samples(pairs, settings)

    torch.manual_seed(settings.seed)  # decides the initial LoRA weights; nothing else reads the global state
    model = load_model(settings, team)
    resolution = settings.resolution or model.resolution
    store = latents.open_or_build(model, pairs.images, batches.texts(pairs, settings), resolution=resolution)
    loss = LOSSES[settings.method]
    method = make_method(settings, model, team)
    soft = loss.soft and pairs.probabilities is not None and not settings.hard_labels
    drawn = Batches(samples, store, model, settings)
    similarity = Similarity(model, pairs, settings) if Need.SIMILARITIES in loss.needs else None
    update = Update(method, drawn.draw, Objective(settings, soft=soft, similarity=similarity), settings, team)
    say(team, described(settings, len(samples.prompts), update, soft))

    checkpoint.begin(out, identity, team)
    checkpoints = Checkpoints(out / checkpoint.CHECKPOINTS, settings.keep_checkpoints, team)
    state = checkpoints.load(update)
    after = state["step"]
    grids = Grids(out, samples, model, method, settings, team) if settings.grid_every else None
    if grids and not after:
        grids.base()
    progress = Progress(f"training {settings.method}", settings.steps, "steps", done=after, quiet=not team.leads)
    tracker = Tracker(out, team, timesteps=drawn.timesteps, after=after, state=state.get("tracker"))
    with checkpoint.stop_signals() as signals, tracker, progress:
        for step in range(after, settings.steps):
            tracker.add(*update(step))
            done = step + 1
            if done % LOG_EVERY == 0 or done == settings.steps:
                line = tracker.line(done, lr=update.lr, pairs_per_second=round(progress.rate * settings.batch, 2))
                progress.note = f"loss {line['loss']:.3f} accuracy {line['accuracy']:.2f}"
            progress.advance()
            stopped = team.any(bool(signals))
            if done < settings.steps and (stopped or done % settings.checkpoint_every == 0):
                checkpoints.save(done, update, {"tracker": tracker.state()})
            if stopped and done < settings.steps:
                say(team, f"stopped after step {done} of {settings.steps}; the same command goes on from there")
                raise SystemExit(128 + signals[0] if signals else 143)
            if grids and done % settings.grid_every == 0:
                grids.draw(done)
    update.take_average()
    with distributed.whole(model.unet, team):
        if team.leads:
            checkpoint.finish(method, out, identity)
    checkpoint.clear(out, team)
    team.wait()
    say(team, f"saved to {out}")


def check_columns(pairs: data.Pairs, settings: Config) -> None:
    """Raise TrainingError if the method reads a column that the data has not."""
    needs = LOSSES[settings.method].needs
    name = settings.method
    if settings.part == "value-encoder" and not all(pairs.principles):
        raise TrainingError(
            f"{name} reads a principle for every pair: the data needs a column 'principle' without blanks"
        )
    if Need.PROBABILITY in needs and pairs.probabilities is None:
        raise TrainingError(f"{name} reads how likely each label is right: the data needs a column 'probability'")
    if needs & {Need.CAPTIONS, Need.SIMILARITIES} and (
        pairs.chosen_captions is None or pairs.rejected_captions is None
    ):
        raise TrainingError(
            f"{name} reads what each image shows: the data needs columns 'chosen_prompt' and 'rejected_prompt'"
        )
    rewards = [*(pairs.chosen_rewards or ()), *(pairs.rejected_rewards or ())]
    if Need.REWARD_GAP in needs and not (rewards and all(0 <= reward <= 1 for reward in rewards)):
        raise TrainingError(
            f"{name} reads calibrated rewards, the chances from 0 to 1 of winning against the base model: the data "
            "needs columns 'chosen_reward' and 'rejected_reward' of such numbers"
        )


def check_team(settings: Config, team: Team) -> None:
    """Raise TrainingError if the processes cannot share out the work as it is."""
    if settings.batch < team.count:
        raise TrainingError(f"--batch {settings.batch} is less than a pair for each of {team.count} processes")
    if team.plugin is None:
        return
    if settings.part != "unet" or settings.lora_rank:
        raise TrainingError("FSDP spreads the U-Net that is trained: it is for full fine-tuning, not for this run")
    if settings.batch % team.count:
        raise TrainingError(f"with FSDP --batch must be a multiple of the {team.count} processes")
    if settings.precision == "fp16":
        raise TrainingError("with FSDP --precision is bf16 or fp32")


def load_model(settings: Config, team: Team) -> diffusion.StableDiffusion:
    """The model, on this process's device."""
    model = diffusion.load(config.resolve_model(settings.model), settings.revision)
    for part in (model.unet, model.vae, *model.text_encoders):
        part.to(team.device)
    return model


def make_method(settings: Config, model: diffusion.StableDiffusion, team: Team) -> Method:
    """What this run trains, spread over the processes where FSDP is asked for; what nobody reads leaves the device."""
    method = trainables.make(settings, model, reference=LOSSES[settings.method].needs_reference)
    if not settings.grid_every and Need.SIMILARITIES not in LOSSES[settings.method].needs:
        for part in (model.vae, *(model.text_encoders if settings.part == "unet" else ())):
            part.to("cpu")
    if team.plugin is not None:
        frozen = getattr(method, "frozen", None)
        distributed.shard(
            [model.unet, *([frozen] if frozen is not None else [])],
            team,
            pick_precision(settings.precision, team.device),
        )
    return method


def described(settings: Config, samples: int, update: Update, soft: bool) -> str:
    """What is about to be done, in one line."""
    kind = "lists" if Need.LISTS in LOSSES[settings.method].needs else "pairs"
    processes = f" in {update.team.count} processes" if update.team.count > 1 else ""
    return (
        f"{settings.method} on {samples} {kind}: {sum(w.numel() for w in update.weights):,} weights, "
        f"{settings.steps} steps of {settings.batch} {kind}{processes}, lr {settings.lr:g}, "
        f"{'soft' if soft else 'hard'} labels, {update.precision}, {update.team.device}"
        + (f", control: {settings.control}" if settings.control else "")
    )


def say(team: Team, words: str) -> None:
    """One line on stdout, whatever the number of processes."""
    if team.leads:
        print(words, flush=True)


def run(settings: Config) -> None:
    """`train` in as many processes as were started. Raises TrainingError."""
    with distributed.join(settings.device) as team:
        try:
            train(settings, team)
        except RuntimeError as error:
            if not is_memory_error(error):
                raise
            raise TrainingError(
                "not enough memory for one pair at a time: use --checkpointing, --lora-rank, a smaller --resolution, "
                "or several devices with FSDP"
            ) from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0, or 2 with one line on stderr; 143 after SIGTERM, 130 after Ctrl-C, with everything saved."""
    return exit_code(lambda: run(config.parse(arguments)))


if __name__ == "__main__":
    sys.exit(main())
