"""The plan of docs/scale.md for 100 million pairs on 1,000 GPUs: its arithmetic, and a simulation that checks it.

`python -m benchmarks scale_plan`. Every figure of the plan comes from the assumptions in `Plan` by a line of
arithmetic. What that cannot know, how long GPUs idle at the end of a run and what is lost with nodes that are taken
away, is simulated shard by shard: workers that pull, and shares that are fixed beforehand.
"""

from __future__ import annotations

import argparse
import dataclasses
import heapq
import random
import statistics

from benchmarks.support.results import Row, percent, record

SEEDS = 5
DAY_S = 86_400


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is assumed, and what follows."""

    pairs: int = 100_000_000
    runs: int = 100  # of one seed each, as the writing of one run holds all of its prompts in memory
    at_once: int = 10
    gpus: int = 1_000
    gpus_a_node: int = 8
    shard: int = 250  # prompts
    images_a_pair: int = 2
    image_s: float = 2.5  # SDXL at 1024 px, 30 steps, on one current GPU
    judge_s: float = 0.05  # five judges of an image
    image_mb: float = 0.3  # JPEG of quality 92
    spread: float = 0.1  # standard deviation of a shard's time, of its mean
    node_lives_s: float = 1 * DAY_S  # until a node is taken away, as of spot machines
    back_s: float = 600.0  # until another is there and has loaded its models
    prompt_tokens_in: float = 75.0  # of a call that writes eight prompts, for each
    prompt_tokens_out: float = 120.0
    dollars_in: float = 0.15  # for a million tokens
    dollars_out: float = 0.60

    @property
    def shards(self) -> int:
        """Of a stage, in one run."""
        return -(-self.pairs // self.runs // self.shard)

    @property
    def files(self) -> int:
        """Of all runs: five stages in shards."""
        return 5 * self.shards * self.runs

    @property
    def shard_s(self) -> float:
        """For drawing one shard."""
        return self.shard * self.images_a_pair * self.image_s

    @property
    def gpu_days(self) -> float:
        """Of drawing and judging, were nothing lost."""
        return self.pairs * self.images_a_pair * (self.image_s + self.judge_s) / DAY_S

    @property
    def days(self) -> float:
        """On all GPUs, with what idles and what is lost."""
        return self.gpu_days / self.gpus / (self.busy * (1 - self.lost))

    @property
    def busy(self) -> float:
        """The share of time before the last shard of a run that its GPUs have work: half a shard is waited for."""
        work = self.shards * self.shard_s / (self.gpus / self.at_once)
        return work / (work + self.shard_s / 2)

    @property
    def lost(self) -> float:
        """The share of GPU time that goes with nodes: half a shard a GPU, and the time until another is there."""
        return (self.shard_s / 2 + self.back_s) / (self.node_lives_s + self.back_s)

    @property
    def terabytes(self) -> float:
        """Of pictures, in the tables of images and once more in the datasets."""
        return 2 * self.pairs * self.images_a_pair * self.image_mb / 1e6

    @property
    def dollars(self) -> float:
        """For the LLM."""
        tokens = self.prompt_tokens_in * self.dollars_in + self.prompt_tokens_out * self.dollars_out
        return self.pairs * tokens / 1e6


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The images of one run drawn: how long it took, and the shares of GPU time that were busy and lost."""

    seconds: float
    busy: float  # of what the GPUs were there for
    lost: float  # of all time: work that went with a node, and nodes that were not there


def simulate(plan: Plan, seed: int, pulled: bool = True) -> Outcome:
    """Draw one run on its part of the GPUs, shard by shard; nodes are taken away at random and come back.

    `pulled`: any GPU takes the next shard, as with Ray. Otherwise GPU i has the shards whose number leaves i, as with
    `--shard i/n`.
    """
    rng, gpus = random.Random(seed), plan.gpus // plan.at_once
    nodes = [rng.expovariate(1 / plan.node_lives_s) for _ in range(-(-gpus // plan.gpus_a_node))]
    left = plan.shards
    own = [len(range(number, plan.shards, gpus)) for number in range(gpus)]
    ready = [(0.0, number) for number in range(gpus)]
    done_s = lost_s = ended = 0.0
    while ready:
        now, gpu = heapq.heappop(ready)
        if not (left if pulled else own[gpu]):
            continue
        node = gpu // plan.gpus_a_node
        takes = max(0.0, rng.gauss(plan.shard_s, plan.spread * plan.shard_s))
        if now + takes > nodes[node] >= now:  # all GPUs of the node meet this moment by themselves
            lost_s += nodes[node] - now + plan.back_s
            heapq.heappush(ready, (nodes[node] + plan.back_s, gpu))
            continue
        if nodes[node] < now:  # it is back, and lives anew
            nodes[node] = now + rng.expovariate(1 / plan.node_lives_s)
            heapq.heappush(ready, (now, gpu))
            continue
        left, own[gpu] = left - 1, own[gpu] - 1
        done_s, ended = done_s + takes, max(ended, now + takes)
        heapq.heappush(ready, (now + takes, gpu))
    return Outcome(ended, done_s / (gpus * ended - lost_s), lost_s / (gpus * ended))


def main() -> None:
    argparse.ArgumentParser(description=__doc__, allow_abbrev=False).parse_args()
    plan = Plan()
    rows = [
        Row("days on 1,000 GPUs, by arithmetic", plan.days, "days"),
        Row("files of all runs", plan.files, ""),
        Row("pictures on the disk", plan.terabytes, "TB"),
        Row("LLM", plan.dollars, "dollars"),
    ]
    for pulled, name in ((True, "shards that are pulled"), (False, "fixed shares")):
        found = [simulate(plan, seed, pulled) for seed in range(SEEDS)]
        busy, lost = (statistics.mean(getattr(one, part) for one in found) for part in ("busy", "lost"))
        days = statistics.mean(one.seconds for one in found) * plan.runs / plan.at_once / DAY_S
        expected = plan.days * plan.image_s / (plan.image_s + plan.judge_s)
        by_hand = f"by arithmetic {percent(plan.busy)} and {percent(plan.lost)} %"
        note = f"{percent(busy)} % busy, {percent(lost)} % lost; {by_hand}"
        rows.append(Row(f"days of drawing, simulated, {name}", days, "days", "", f"{SEEDS} seeds", note))
        print(f"{name}: {days:.2f} days of drawing ({expected:.2f} by arithmetic), {note}")
    record("scale_plan", rows)


if __name__ == "__main__":
    main()
