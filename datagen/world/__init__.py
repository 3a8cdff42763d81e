"""The embedded world: a small domain with known truth, rendered, captioned, generated and read.

It carries a Stable Diffusion and an open_clip model of its own, so that the whole job runs with no hub, key or GPU.
"""

from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"
PIPELINE = WEIGHTS / "pipeline"
CLIP = WEIGHTS / "clip"
JURY = WEIGHTS / "jury"  # a folder a judge: small, weak, and taught by preferences that are partly wrong
