"""Training on a label's probability against taking it as certain, and against leaving the doubtful pairs out.

`python -m benchmarks soft_labels [--draws FOLDER] [--out FOLDER] [--seeds 0 1 2] [--steps 600] [--arms soft hard]`.
The pairs are real draws from pick-style's wordings, of which those of 30 % of the prompts were exchanged before
drawing; the embedded jury judges them from double exposures, each picture with a random other one in it, more or less,
and `labels.instrument` makes probabilities of what it says, without a label: the winner by p > .5 is wrong in about a
quarter of the pairs. One method is trained for the same steps on the probabilities (soft), on the winners as if they
were certain (hard), on the pairs above .9 alone (filtered) and on the winners that the attribute reader sees (true).
What a training did is which image of fresh pairs, drawn of other prompts, the model now prefers by DPO's implicit
reward, and what the reader sees on pictures of fresh prompts, which begin to change long after that. What is done is
kept in the work folder, so it can be stopped and started again.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image as Pillow

from benchmarks.support import implicit_reward
from benchmarks.support.juries import measures
from benchmarks.support.results import Row, percent, record
from benchmarks.support.training_runs import prompts
from benchmarks.support.world_arms import DPO
from benchmarks.support.world_pairs import EXCHANGED, NOISES, Scene, scenes
from benchmarks.world import jury
from datagen import recipe as recipes
from datagen.labels import instrument
from datagen.world.captions import parse
from datagen.world.reader import read
from training import run
from training.evaluation import bootstrap

RECIPE = "pick-style"
SHARE = 0.3  # of the prompts, whose wordings are exchanged
OTHER = (0.2, 1.0)  # how much of what the judges see is another picture: even between these, scene by scene
SEED = 1515
SURE = 0.9
METHOD = (*DPO, "2e-3")  # as the world's table trains DPO
STEPS = 600  # two thirds of those of the table
GUIDANCE, DRAWN = 4.0, 20  # steps of the pictures that are looked at
RANKED = "fresh pairs ranked right"
FRESH, OTHER_SEED = 96, 7117  # scenes of fresh pairs, four each
Arrays = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Arm:
    """Which pairs are trained on, by whose winner, and as how certain."""

    name: str
    flags: tuple[str, ...] = ()
    least: float = 0.0
    true: bool = False


ARMS = (
    Arm("soft"),
    Arm("hard", ("--hard-labels",)),
    Arm("filtered", ("--hard-labels",), SURE),
    Arm("true", ("--hard-labels",), true=True),
)


def main() -> int:
    """Print the table; 1 if soft labels are not better than hard ones."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks soft_labels", description=__doc__, allow_abbrev=False)
    parser.add_argument("--draws", type=Path, default=Path("out/benchmarks/jury"), help="where the pictures are kept")
    parser.add_argument("--out", type=Path, default=Path("out/benchmarks/soft_labels"), help="the work folder")
    parser.add_argument("--scenes", type=int, default=250, help="four pairs each")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=STEPS, help="of each training")
    names = [arm.name for arm in ARMS]
    parser.add_argument("--arms", nargs="+", choices=names, default=names, help="soft and hard at least")
    given = parser.parse_args()
    if not {"soft", "hard"} <= set(given.arms):
        parser.error("--arms: soft and hard are what is compared, so name both")
    given.out.mkdir(parents=True, exist_ok=True)
    drawn = scenes(given.draws, given.scenes, [RECIPE])
    found = labelled(drawn, given.out / "labels.npz")
    rows = _said(found)
    readings: dict[str, list[Arrays]] = {}
    fresh = scenes(given.draws.with_name("fresh"), FRESH, [RECIPE], OTHER_SEED)
    for arm in (arm for arm in ARMS if arm.name in given.arms):
        data = given.out / arm.name / "data"
        count = write(drawn, found, arm, data)
        print(f"{arm.name}: {count} pairs", flush=True)
        folder, readings[arm.name] = given.out / arm.name, []
        for seed in given.seeds:
            trained(arm, data, folder, seed, given.steps)
            right = ranked(folder, fresh, seed, given.steps)
            readings[arm.name].append({RANKED: right, **shown(folder, seed, given.steps)})
    rows += effects(readings)
    record("soft_labels", rows)
    return 0 if all(row.reached is not False for row in rows) else 1


def labelled(drawn: Sequence[Scene], keep: Path) -> Arrays:
    """Of each pair: the probability that the side that was meant is the better one, and the truth, 0.5 for a tie."""
    if not keep.exists():
        members = list(recipes.load(RECIPE, []).profile("embedded").judges)
        _, margins = jury.margins(_double_exposed(drawn), members)
        truth, own, _ = jury.truth(list(drawn))
        strata = [f"{scene.prompt.principle_id} {scene.prompt.role}" for scene in drawn for _ in scene.pairs()]
        swap = _exchanged(drawn, own)
        margins, truth = np.where(swap[:, None], -margins, margins), np.where(swap, 1 - truth, truth)
        count = len(truth)
        nothing = np.zeros(count, int), np.full(count, np.nan)
        said = instrument.label(margins, np.ones(count), *nothing, own, strata=np.array(strata))
        np.savez(keep, probability=said.probability, truth=truth, swap=swap, prompt=own)
    return dict(np.load(keep))


def _exchanged(drawn: Sequence[Scene], own: np.ndarray) -> np.ndarray:
    """(pairs,) of which prompts more are exchanged, which is to call each image by the other's name."""
    as_drawn = np.array([scene.prompt.prompt_id for scene in drawn if not scene.exchanged])
    more = (SHARE - EXCHANGED) / (1 - EXCHANGED)
    found: np.ndarray = np.isin(own, as_drawn[np.random.default_rng(SEED).random(len(as_drawn)) < more])
    return found


def _double_exposed(drawn: Sequence[Scene]) -> list[Scene]:
    """What the judges see of the scenes."""
    random = np.random.default_rng(SEED)
    shares = random.uniform(*OTHER, len(drawn))
    found = []
    for scene, share in zip(drawn, shares, strict=True):
        places = random.integers(0, len(drawn), 2 * NOISES), random.integers(0, 2, 2 * NOISES)
        others = np.stack([drawn[k].images[side, 0] for k, side in zip(*places, strict=True)])
        mixed = (1 - share) * scene.images + share * others.reshape(scene.images.shape)
        found.append(dataclasses.replace(scene, images=mixed.astype(np.uint8)))
    return found


def write(drawn: Sequence[Scene], found: Arrays, arm: Arm, folder: Path) -> int:
    """The dataset of an arm, its winners first; how many pairs it has."""
    first = found["truth"] if arm.true else found["probability"]
    sure = np.maximum(found["probability"], 1 - found["probability"])
    rows = []
    places = [(scene, *noises) for scene in drawn for noises in scene.pairs()]
    for k, (scene, one, other) in enumerate(places):
        if sure[k] < arm.least or first[k] == 0.5:
            continue
        meant = _png(scene.images[0, one]), _png(scene.images[1, other])
        meant = meant[::-1] if found["swap"][k] else meant
        chosen, rejected = meant if first[k] > 0.5 else meant[::-1]
        rows.append(
            {
                "prompt": scene.prompt.prompt,
                "principle": scene.principle.statement,
                "chosen": {"bytes": chosen, "path": f"{k}c.png"},
                "rejected": {"bytes": rejected, "path": f"{k}r.png"},
                "probability": 1.0 if arm.true else float(sure[k]),
            }
        )
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / "train-00000-of-00001.parquet")
    return len(rows)


def _png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Pillow.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def _said(found: Arrays) -> list[Row]:
    """What the labels are worth."""
    known = found["truth"] != 0.5
    said, truth = found["probability"][known], found["truth"][known]
    sure = np.maximum(said, 1 - said) >= SURE
    wrong = (said > 0.5) != (truth > 0.5)
    note = (
        f"{len(said)} pairs; calibration error {measures.ece(said, truth):.3f}; design wrong in {1 - truth.mean():.1%}"
    )
    return [
        Row("labels that are wrong", percent(wrong.mean()), "%", note=note),
        Row(f"of those above {SURE}", percent(wrong[sure].mean()), "%", note=f"{sure.mean():.0%} of the pairs"),
    ]


def texts() -> list[str]:
    """Fresh scenes: those that leave the style open, and those that state another."""
    found = prompts(120, "soft labels", {"hazard": "none"})
    for style in ("outline", "plain"):
        found += prompts(40, f"soft labels {style}", {"hazard": "none", "style": style}, "style")
    return list(dict.fromkeys(found))


def trained(arm: Arm, data: Path, folder: Path, seed: int, steps: int) -> None:
    """Train an arm with a seed, if that is not done."""
    place, length = folder / f"trained-{seed}-{steps}", ("--steps", str(steps))
    if not (place / "pytorch_lora_weights.safetensors").exists() and run.main(
        ["--data", str(data), *METHOD, *length, *arm.flags, "--seed", str(seed), "--out", str(place)]
    ):
        raise SystemExit(1)


def ranked(folder: Path, fresh: Sequence[Scene], seed: int, steps: int) -> np.ndarray:
    """The share of the fresh pairs of each prompt whose better image the trained model prefers."""
    kept = folder / f"ranked-{seed}-{steps}.npz"
    if not kept.exists():
        margins = implicit_reward.margins(folder / f"trained-{seed}-{steps}", fresh, OTHER_SEED)
        truth, _, _ = jury.truth(list(fresh))
        signs = 2 * truth.reshape(margins.shape) - 1
        np.savez(kept, right=np.nanmean(np.where(signs != 0, margins * signs > 0, np.nan), axis=1))
    found: np.ndarray = np.load(kept)["right"]
    return found


def shown(folder: Path, seed: int, steps: int) -> Mapping[str, np.ndarray]:
    """What the reader sees of a trained model's pictures, an entry a prompt (NaN: not of this one)."""
    kept = folder / f"shown-{seed}-{steps}.npz"
    if not kept.exists():
        np.savez(kept, **looked_at(folder / f"trained-{seed}-{steps}", seed))  # type: ignore[arg-type]  # the stub takes no array by name
    return dict(np.load(kept))


def looked_at(adapter: Path, seed: int) -> Arrays:
    """A picture of each prompt: the target style where it is open, the stated one where it is not, the rest."""
    from training.inference.sampling import Job, attach_adapter, generate, load_pipeline

    pipe = load_pipeline("embedded", "cpu")
    attach_adapter(pipe, adapter)
    asked = texts()
    jobs = [Job(k, 1000 * seed + k) for k in range(len(asked))]
    pictures = generate(pipe, asked, jobs, steps=DRAWN, guidance=GUIDANCE, batch=40, label="trained")
    seen = [reading.attributes for reading in read(pictures)]
    stated = [parse(text) for text in asked]
    open_ = np.array(["style" not in wanted for wanted in stated])
    style = np.array([see["style"] == want.get("style", "pixel") for see, want in zip(seen, stated, strict=True)])
    rest = [
        np.mean([see[name] == value for name, value in want.items() if name not in ("style", "hazard")])
        for see, want in zip(seen, stated, strict=True)
    ]
    nothing = np.full(len(asked), np.nan)
    return {
        "target style where it is open": np.where(open_, style, nothing),
        "stated style kept": np.where(open_, nothing, style),
        "attributes shown": np.array(rest),
    }


def effects(readings: Mapping[str, Sequence[Mapping[str, np.ndarray]]]) -> list[Row]:
    """Each figure of each arm, and by how much soft labels are ahead of the others, with 95 % intervals."""
    rows = []
    seeds = len(readings["soft"])
    for what, values in readings["soft"][0].items():
        count = len(values)  # of prompts
        draws = bootstrap.resample(count, seeds)
        of = {
            arm: [bootstrap.mean(np.arange(count), one[what], count) for one in some] for arm, some in readings.items()
        }
        for arm, figures in of.items():
            rows.append(_row(f"{what}: {arm}", bootstrap.estimate(figures, draws), "%", f"{seeds} seeds"))
        for arm in list(of)[1:]:
            goal = "> 0" if what == next(iter(readings["soft"][0])) and arm == "hard" else ""
            rows.append(
                _row(f"{what}: soft less {arm}", bootstrap.change(of[arm], of["soft"], draws), "points", "", goal)
            )
    for row in rows:
        print(f"| {row.what} | {row.figure:g} {row.unit} | {row.spread} |")
    return rows


def _row(what: str, found: Mapping[str, float], unit: str, note: str, goal: str = "") -> Row:
    spread = f"{100 * found['low']:.1f} to {100 * found['high']:.1f}"
    return Row(what, percent(found["value"]), unit, goal, spread, note)


if __name__ == "__main__":
    sys.exit(main())
