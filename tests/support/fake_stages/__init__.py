"""Stages that need no model: what the pipeline's tests run. A file in $FAKE_STAGES_DIR makes one of them misbehave."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

NAMES = ("principles", "prompts", "images", "scores", "pairs")

# A recipe of 22 prompts in shards of four for these stages.
RECIPE = """
name = "fake"
license = "cc0-1.0"
pairing = "contrast"
[prompts]
count = 22
[images]
shard_size = 4
[profiles.embedded]
model = "embedded"
taxonomy = "none"
grammar = "none"
steps = 2
guidance = 3
width = 8
height = 8
judges = ["fake"]
"""


def switch(name: str) -> bool:
    """Whether a test has put a file of that name in place."""
    return (Path(os.environ["FAKE_STAGES_DIR"]) / name).exists()


def note(stage: str, prompt_ids: list[str]) -> None:
    """Append what a stage was asked to do, and do what the switches say."""
    folder = Path(os.environ["FAKE_STAGES_DIR"])
    with (folder / "calls").open("a") as file:
        file.write(f"{stage} {len(prompt_ids)}\n")
    if switch(f"slow-{stage}"):
        time.sleep(0.5)
    if switch(f"stuck-{stage}"):
        time.sleep(300)
    if switch(f"raise-{stage}"):
        raise ZeroDivisionError("the fake stage was told to fail")
    if switch(f"die-{stage}"):
        if switch("once"):
            (folder / f"die-{stage}").unlink(missing_ok=True)
        os.kill(os.getpid(), signal.SIGKILL)
