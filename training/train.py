"""The training program, top to bottom: settings, model, samples, cache, trainable, loop, result.

All randomness is a function of (seed, step, place): the same settings give the same weights on a CPU, interrupted or
not. A finished folder is left alone; one of other settings is refused.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from datagen.weights import identity as weights
from training import data, trainables
from training.cache import latents
from training.data import buckets
from training.errors import TrainingError
from training.loop import batches, checkpoint, distributed, foreword, optimizers, soundness, standing
from training.loop.batches import Batches
from training.loop.checkpoint import Checkpoints
from training.loop.clip_similarity import Similarity, clip_name
from training.loop.disk import held
from training.loop.distributed import Team
from training.loop.grids import Grids
from training.loop.lock import hold
from training.loop.objective import Objective
from training.loop.standing import Standing
from training.loop.tracking import LOG_EVERY, Tracker
from training.loop.update import Update, is_memory_error, pick_precision
from training.loop.wandb import Wandb
from training.losses import LOSSES, Need
from training.models import clip, diffusion, half, stored
from training.models.embedded import resolve_model
from training.progress import Progress
from training.settings.training import Settings
from training.trainables import Trainable, start

LARGE = 512  # pixels from which on the sides of buckets are multiples of 64, as published models were trained


def train(settings: Settings, team: Team) -> None:
    """One run, from settings to saved weights. Raises TrainingError."""
    out = Path(settings.job.out)
    run = settings.run
    library = optimizers.library(settings.optimizer, team.device)
    names = dict(given.split("=", 1) for given in run.columns)
    pairs = data.load(
        run.data, limit=run.limit, skip_bad=run.skip_bad, names=names, any_shape=run.aspect_ratio_buckets
    )
    check_columns(pairs, settings)
    check_team(settings, team)
    source = start.find(settings)
    identity = identity_of(settings, pairs, source)
    if library:
        identity["optimizer_library"] = library
    if look(out, identity, team).finished:
        return
    with hold(out, team):
        before = look(out, identity, team)
        if before.finished:  # by whoever held it until now
            return
        samples = batches.samples(pairs, settings)
        torch.manual_seed(settings.run.seed)  # decides the initial LoRA weights; nothing else reads the global state
        model = load_model(settings, team)
        batches.check_noise(settings.noise, model.noise_scheduler)
        begun = start.read(source, settings, model, identity["model_weights"]) if source else None
        resolution = check_resolution(settings.run.resolution or model.resolution, model)
        shapes = in_buckets(samples, resolution, model, team) if run.aspect_ratio_buckets else None
        store = latents.open_or_build(
            model, pairs.images, batches.texts(pairs, settings), resolution=resolution, shapes=shapes
        )
        loss = LOSSES[settings.run.method]
        trainable = make_trainable(settings, model, team, begun)
        soft = loss.soft and pairs.probabilities is not None and not settings.run.hard_labels
        loader = Batches(samples, store, model, settings, shapes)
        similarity = Similarity(model, pairs, settings) if Need.SIMILARITIES in loss.needs else None
        objective = Objective(settings, model.noise_scheduler, soft=soft, similarity=similarity)
        update = Update(trainable, loader.get, objective, settings, team)
        for line in foreword.lines(settings, pairs, len(samples.prompts), update, model):
            say(team, line)
        for line in (
            *foreword.of_buckets(loader.order, settings.optimizer),
            *foreword.starting(settings, begun),
            *foreword.going_on(settings.optimizer, before),
        ):
            say(team, line)
        checkpoints = Checkpoints(out, settings.job.keep_checkpoints, team)
        state = checkpoints.load(update)  # before the result of fewer steps is given up for it
        standing.begin(out, identity, before, team)
        grids = Grids(out, samples, model, trainable, settings, team) if settings.job.grid_every else None
        learn(update, checkpoints, state, grids, settings, loader.timesteps)
        update.load_ema()
        with distributed.unsharded(model.unet, team):
            standing.finish(trainable, out, identity, before, team)
        standing.keep_last(out, team)
        team.barrier()
        say(team, f"saved to {out}")


def identity_of(settings: Settings, pairs: data.Pairs, source: start.Source | None) -> dict[str, Any]:
    """What decides the weights of this run: settings, and digests of all that is read."""
    identity = {**settings.result(), "data_digest": pairs.digest(), "pairs": len(pairs)}
    identity["model_weights"] = weights.pipeline(model_folder(settings))
    if source:
        identity["init_weights"] = source.identity
    if Need.SIMILARITIES in LOSSES[settings.run.method].needs:
        identity["clip_weights"] = clip.find(clip_name(settings)).identity
    return identity


def look(out: Path, identity: dict[str, Any], team: Team) -> Standing:
    """How far `out` is with this run; said if it is finished. Raises TrainingError if it holds another."""
    found = standing.look(out, identity)
    if found.finished:
        standing.keep_last(out, team)
        say(team, f"{out} already holds this run; nothing to do")
    return found


def learn(
    update: Update,
    checkpoints: Checkpoints,
    state: dict[str, Any],
    grids: Grids | None,
    settings: Settings,
    timesteps: int,
) -> None:
    """All steps from the `state` of the last checkpoint on; a signal ends them and the process. TrainingError."""
    team, job, steps = update.team, settings.job, settings.optimizer.steps
    after = state["step"]
    if grids and not after:
        grids.base()
    progress = Progress(f"training {settings.run.method}", steps, "steps", done=after, quiet=not team.is_main_process)
    tracker = Tracker(
        Path(job.out),
        team,
        timesteps=timesteps,
        after=after,
        state=state.get("tracker"),
        overflows=update.precision == "fp16",
    )
    wandb = Wandb(job.wandb, Path(job.out), settings.result(), team)
    with checkpoint.stop_signals() as signals, tracker, progress, contextlib.closing(wandb):
        for step in range(after, steps):
            tracker.add(*update(step))
            done = step + 1
            if done % LOG_EVERY == 0 or done == steps:
                rate = round(progress.rate * settings.optimizer.batch, 2)
                line = tracker.line(done, lr=update.lr, pairs_per_second=rate)
                wandb.log(line)
                progress.note = f"loss {line['loss']:.3f} accuracy {line['accuracy']:.2f}"
            progress.advance()
            stopped = team.any(bool(signals))
            if done < steps and (stopped or done % job.checkpoint_every == 0):
                soundness.check(update, done, checkpoints.out)
                checkpoints.save(done, update, {"tracker": tracker.state()})
            if stopped and done < steps:
                say(team, f"stopped after step {done} of {steps}; the same command goes on from there")
                raise SystemExit(128 + signals[0] if signals else 143)
            if grids and done % job.grid_every == 0:
                grids.write(done)
        for note in soundness.check_result(update, steps, checkpoints.out):
            say(team, note)
        try:
            checkpoints.save(steps, update, {"tracker": tracker.state()})
        except TrainingError:  # the result takes a third of this room: a disk may still hold that
            last = held(checkpoints.out)[-1:]
            rest = f"would go on from step {int(last[0].name[5:]):,}" if last else "would have nothing to go on from"
            say(team, f"note: the last checkpoint cannot be written: more steps after these {steps:,} {rest}")


def check_columns(pairs: data.Pairs, settings: Settings) -> None:
    """Raise TrainingError if the loss reads a column that the data lacks."""
    needs = LOSSES[settings.run.method].needs
    name = settings.run.method
    if settings.run.part == "value-encoder" and not all(pairs.principles):
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


def check_team(settings: Settings, team: Team) -> None:
    """Raise TrainingError if the work cannot be split among the processes."""
    batch = settings.optimizer.batch
    if batch < team.num_processes:
        raise TrainingError(f"--batch {batch} is less than a pair for each of {team.num_processes} processes")
    if team.fsdp_plugin is None:
        return
    if settings.run.part != "unet" or settings.unet.lora_rank:
        raise TrainingError("FSDP spreads the U-Net that is trained: it is for full fine-tuning, not for this run")
    if batch % team.num_processes:
        raise TrainingError(f"with FSDP --batch must be a multiple of the {team.num_processes} processes")
    if settings.run.precision == "fp16":
        raise TrainingError("with FSDP --precision is bf16 or fp32")
    if settings.run.frozen_precision != "fp32":
        raise TrainingError("with FSDP --frozen-precision is fp32: it gathers weights of one precision only")
    if settings.optimizer.optimizer != "adamw":
        raise TrainingError("with FSDP --optimizer is adamw, whose moments are sharded as the weights are")


def model_folder(settings: Settings) -> Path:
    """Where the model lies. Raises ModelError."""
    return diffusion.find(resolve_model(settings.run.model), settings.run.revision)


def load_model(settings: Settings, team: Team) -> diffusion.StableDiffusion:
    """The model, on this process's device. Raises TrainingError for one of another family than it was taken for."""
    run = settings.run
    frozen = {"unet": run.part == "value-encoder" or settings.unet.lora_rank > 0, "texts": run.part == "unet"}
    kind = None if run.frozen_precision == "fp32" else run.frozen_precision
    # A GPU's autocast reads float32 weights, as does FSDP.
    is_plain = team.device.type == "cpu" and team.fsdp_plugin is None
    settling = stored.Settling(kind, **frozen) if kind or is_plain else None
    model = diffusion.load(model_folder(settings), settling)
    if settling:
        settling.take_turns([model.vae.encoder, model.unet])
    for note in model.notes:
        say(team, f"note: {note}")
    if settings.defaults_taken and model.is_xl != (settings.family == "sdxl"):
        raise TrainingError(
            f"{settings.run.model} is {'SDXL' if model.is_xl else 'no SDXL'}, which showed only now that it is here: "
            "give the same command again, and its defaults are those of this family"
        )
    if kind:  # before anything goes to the device, which may have no room for all of it
        for note in half.round_frozen(model, kind, **frozen):
            say(team, f"note: {note}")
    for part in (model.unet, model.vae, *model.text_encoders):
        part.to(team.device)
    return model


def check_resolution(resolution: int, model: diffusion.StableDiffusion) -> int:
    """The resolution, which must be one that the VAE can encode and the U-Net can read. Raises TrainingError."""
    factor = 2 ** (len(model.vae.config.block_out_channels) - 1)
    if resolution % factor:
        near = max(factor, resolution // factor * factor)
        raise TrainingError(
            f"--resolution {resolution} is no multiple of {factor}, the pixels that one latent stands for: "
            f"use {near} or {near + factor}"
        )
    return resolution


def in_buckets(
    samples: data.Pairs | data.Lists, resolution: int, model: diffusion.StableDiffusion, team: Team
) -> list[buckets.Shape]:
    """The size at which each image is trained, with --aspect-ratio-buckets; what is cropped for it is said."""
    least = 2 ** (len(model.vae.config.block_out_channels) + len(model.unet.config.block_out_channels) - 2)
    known = buckets.shapes(resolution, max(least, 64) if resolution >= LARGE else least)
    images = samples.images
    found, moved = buckets.assign(images.sizes, batches.compared(samples), known)
    sizes = [f"{wide}×{tall} ({count:,})" for (tall, wide), count in Counter(found).most_common()]
    say(team, f"aspect-ratio buckets: {len(sizes)} of {len(known)} sizes, images in each: {', '.join(sizes)}")
    if moved:
        say(team, f"{moved:,} of {len(images):,} images are cropped to the shape of those that they are compared with")
    return found


def make_trainable(
    settings: Settings, model: diffusion.StableDiffusion, team: Team, begun: start.Start | None = None
) -> Trainable:
    """What this run trains, sharded over the processes with FSDP; what is not needed leaves the device."""
    trainable = trainables.make(settings, model, reference=LOSSES[settings.run.method].needs_reference, start=begun)
    if not settings.job.grid_every and Need.SIMILARITIES not in LOSSES[settings.run.method].needs:
        for part in (model.vae, *(model.text_encoders if settings.run.part == "unet" else ())):
            part.to("cpu")
    if team.fsdp_plugin is not None:
        frozen = getattr(trainable, "frozen", None)
        distributed.shard(
            [model.unet, *([frozen] if frozen is not None else [])],
            team,
            pick_precision(settings.run.precision, team.device),
        )
    return trainable


def say(team: Team, words: str) -> None:
    """One line on stdout, whatever the number of processes."""
    if team.is_main_process:
        print(words, flush=True)


def run(settings: Settings) -> None:
    """`train` in as many processes as were started. Raises TrainingError."""
    with distributed.init_processes(settings.job.device) as team:
        try:
            train(settings, team)
        except RuntimeError as error:
            if not is_memory_error(error):
                raise
            raise TrainingError(
                "not enough memory for one pair at a time: use --checkpointing, --lora-rank, a smaller --resolution, "
                "or several devices with FSDP"
            ) from error
