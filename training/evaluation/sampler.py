"""Samples the arms of an evaluation from a pipeline: base, and adapted by what training wrote, with the same seeds.

Pictures are saved in OUT/images as they come, so that the same command samples only what is missing, and other judges
can score them: OUT/images/captions.csv names the prompt of each. An interruption loses little.
"""

from __future__ import annotations

import csv
import dataclasses
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from training.errors import TrainingError
from training.evaluation.image_folder import ImageFolder, fingerprint
from training.evaluation.pictures import Pictures, Round
from training.inference.adapter import WRITTEN, base_of, check_fits
from training.inference.sampling import Job, attach_adapter, generate, load_pipeline
from training.inference.value_guide import ValueGuide, spread, use_probability
from training.models.embedded import resolve_model
from training.settings.evaluation import Settings

CALIBRATION = 32  # images a setting and arm, on seeds that the evaluation does not use
SEEDS = 10_000_000  # noise seeds reserved for each seed of the evaluation; calibration has the second half
KEEP_EVERY = 256  # pictures sampled before they are written; a killed evaluation loses at most these

Shares = Callable[[Sequence[Image.Image], Sequence[str]], list[float]]


@dataclasses.dataclass(frozen=True)
class PromptSet:
    """The prompts, each with its principles (() where none is known) and the setting that balance is measured in."""

    prompts: list[str]
    principles: list[tuple[str, ...]]
    settings: list[str]  # "" where a prompt has none
    open: list[bool]  # whether the prompt leaves the groups open: only these calibrate the use of the token


class Sampler:
    """Samples one seed; `shares`: how often pictures, given with their prompts, show each group, for calibration."""

    def __init__(self, settings: Settings, seed: int, prompt_set: PromptSet, shares: Shares | None) -> None:
        self.settings, self.seed, self.prompt_set, self.shares = settings, seed, prompt_set, shares
        self.adapter = settings.drawn.adapter_of(seed)
        self.base = base_of([self.adapter] if self.adapter else [], settings.drawn.model)
        first, n = seed * SEEDS, settings.drawn.images
        self.jobs = [Job(p, first + p * n + i) for p in range(len(prompt_set.prompts)) for i in range(n)]
        self.names = [f"{seed}-{p:05d}-{i:02d}.png" for p in range(len(prompt_set.prompts)) for i in range(n)]
        self._pipe: Any = None
        self._attached = False
        self._guide: ValueGuide | None = None

    def sample(self) -> tuple[Round, dict[str, Any]]:
        """The pictures of this seed, and of a value encoder: how often it was used, and whether it idles without."""
        s = self.settings.drawn
        jobs = [(self.prompt_set.prompts[j.prompt], j.seed) for j in self.jobs]
        model = fingerprint(resolve_model(self.base.model)), *([self.base.revision] if self.base.revision else [])
        key = {"model": model, "steps": s.steps, "guidance": s.guidance, "jobs": jobs}
        base = self._folder("base", key)
        if not base.begun:
            base.begin({})
        arms = {"base": self._fill(base, self.jobs)}
        if self.adapter:
            adapted = {
                "adapter": [fingerprint(self.adapter / part) for part in WRITTEN if (self.adapter / part).exists()],
                "use": s.use_probability,
                "principles": self.prompt_set.principles,
            }
            folder = self._folder("adapted", key | adapted)
            if not folder.begun:
                self.attach_adapter()
                folder.begin(self._try(arms["base"]) if self._guide else {})
            use = folder.notes.get("use_probability")
            arms["adapted"] = self._fill(folder, self.jobs if use is None else self.with_tokens(self.jobs, use))
            return Round([job.prompt for job in self.jobs], arms), folder.notes
        return Round([job.prompt for job in self.jobs], arms), {}

    def _folder(self, arm: str, key: dict[str, Any]) -> ImageFolder:
        return ImageFolder(Path(self.settings.job.out) / "images" / arm, self.names, key)

    def _fill(self, folder: ImageFolder, jobs: Sequence[Job]) -> Pictures:
        """The pictures of a folder, after sampling the missing ones: the base's before the adapter is attached."""
        missing, arm = folder.missing(), folder.paths[0].parent.name
        if missing and arm == "adapted":
            self.attach_adapter()
        for start in range(0, len(missing), KEEP_EVERY):
            part = missing[start : start + KEEP_EVERY]
            label = f"{arm}, seed {self.seed}" + (f", after {start}" if start else "")
            for i, picture in zip(part, self._generate([jobs[i] for i in part], label), strict=True):
                folder.put(i, picture)
        return folder.pictures()

    def attach_adapter(self) -> None:
        """Attach the adapter to the pipeline, once."""
        if not self._attached and self.adapter:
            self._guide, self._attached = attach_adapter(self.pipe, self.adapter), True

    def _try(self, base: Pictures) -> dict[str, Any]:
        """Whether the value encoder is idle without a token, and how often to use it."""
        again = self._generate(self.jobs[: self.settings.job.batch], "without token")
        same = (np.array_equal(np.asarray(picture), np.asarray(base[i])) for i, picture in enumerate(again))
        use = self.settings.drawn.use_probability
        return {"identical_without_token": all(same), "use_probability": self.calibrate() if use is None else use}

    @property
    def pipe(self) -> Any:
        """The pipeline, loaded at its first use: an evaluation whose pictures are all there needs none."""
        if self._pipe is None:
            self._pipe = load_pipeline(self.base.model, self.settings.job.device, self.base.revision)
            for adapter in self.settings.drawn.adapters:  # of all seeds: before the first picture is drawn
                check_fits(self._pipe, adapter, self.base.model)
        return self._pipe

    def with_tokens(self, jobs: Sequence[Job], use: float | Mapping[str, float]) -> list[Job]:
        """The same jobs with the tokens in the wanted share of each setting's images, spread evenly over them.

        A prompt without a principle gets no token. Raises TrainingError if none has one.
        """
        if not any(self.prompt_set.principles):
            raise TrainingError("a value encoder needs --principle, or a dataset with a column 'principle'")
        members = defaultdict(list)
        for index, job in enumerate(jobs):
            if self.prompt_set.principles[job.prompt]:
                members[self.prompt_set.settings[job.prompt]].append(index)
        steered = list(jobs)
        for setting, indices in members.items():
            share = use if isinstance(use, float) else use.get(setting, 1.0)
            for index, used in zip(indices, spread(share, len(indices), self.seed), strict=True):
                if used:
                    steered[index] = dataclasses.replace(
                        jobs[index], principles=self.prompt_set.principles[jobs[index].prompt]
                    )
        return steered

    def calibrate(self) -> dict[str, float]:
        """For each setting, how often to use the token: from images with and without it, on other seeds."""
        if self.shares is None:
            raise TrainingError("--use-probability auto needs a --reader that sees the groups")
        members = defaultdict(list)
        for index, setting in enumerate(self.prompt_set.settings):
            if self.prompt_set.open[index] and self.prompt_set.principles[index]:
                members[setting].append(index)
        uses = {}
        for number, (setting, indices) in enumerate(sorted(members.items())):
            first = self.seed * SEEDS + SEEDS // 2 + number * CALIBRATION
            plain = [Job(indices[i % len(indices)], first + i) for i in range(CALIBRATION)]
            base, token = (
                self.shares(self._generate(jobs, f"calibrating {setting}, {arm}"), self._texts(jobs))
                for jobs, arm in ((plain, "base"), (self.with_tokens(plain, 1.0), "token"))
            )
            minority = int(np.argmin(base))
            uses[setting] = use_probability(base[minority], token[minority])
        return uses

    def _texts(self, jobs: Sequence[Job]) -> list[str]:
        return [self.prompt_set.prompts[job.prompt] for job in jobs]

    def _generate(self, jobs: Sequence[Job], label: str) -> list[Image.Image]:
        s = self.settings.drawn
        return generate(
            self.pipe, self.prompt_set.prompts, jobs,
            steps=s.steps, guidance=s.guidance, batch=self.settings.job.batch, label=label, guide=self._guide,
        )  # fmt: skip


def write_captions(out: Path, prompt_set: PromptSet, rounds: Sequence[Round]) -> None:
    """OUT/images/captions.csv: file_name and prompt of every picture, for `--captions` and for other judges."""
    with (out / "images" / "captions.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["file_name", "prompt"])
        for one in rounds:
            names = (Path(name).name for name in one.arms["base"].names)
            writer.writerows((name, prompt_set.prompts[p]) for name, p in zip(names, one.prompt_of, strict=True))
