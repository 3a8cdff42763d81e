"""The files of an HPSv3: its weights, their Qwen2-VL, and the text that it asks with. Reads no weights."""

from __future__ import annotations

import ast
import dataclasses
import functools
import hashlib
import importlib.util
import json
from pathlib import Path

from datagen.errors import ModelError
from datagen.weights import checkpoint, files, identity, parts

REWARD = "<|Reward|>"  # the token whose state is read
PLACE = "{text_prompt}"  # of the text
ASKING = Path("dataset", "data_collator_qwen.py")  # of its package: where the text stands
TEXTS = ("INSTRUCTION", "prompt_with_special_token")  # what it is called there


@dataclasses.dataclass(frozen=True)
class Source:
    """Its weights, the folder of Qwen2-VL-7B-Instruct (settings, tokenizer and processor), and the text."""

    weights: Path
    base: Path
    text: str

    @functools.cached_property
    def identity(self) -> str:
        """What tells weights, settings, words and text apart: 16 hex digits. Reads them once; ModelError."""
        facts = [checkpoint.digest(self.weights), self.text]
        facts += [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(self.base.glob("*.json"))]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[: identity.LENGTH]


def find(weights: Path, base: Path, rubric: str) -> Source:
    """Its files, once they are there. Raises ModelError; for weights that are no safetensors, too."""
    checkpoint.check(weights, "")
    files.read_json(base / "config.json")
    parts.check_vocabulary(base)
    return Source(weights, base, find_text(rubric, weights.parent))


def find_text(given: str, beside: Path) -> str:
    """What HPSv3 is asked, with PLACE where a text goes: read from its package's source, of which nothing is run.

    `given` is that file, "" the one beside the weights or in the installed package. Raises ModelError.
    """
    package = importlib.util.find_spec("hpsv3")
    folders = [Path(folder) for folder in (package.submodule_search_locations or ())] if package else []
    places = [Path(given).expanduser()] if given else [beside / ASKING.name, *(folder / ASKING for folder in folders)]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise ModelError(
            f"the judge hpsv3 asks with the text in hpsv3/{ASKING.as_posix()} of the package hpsv3 1.0.0, and "
            f"{places[0]} is not there: put that file beside its weights (pip download --no-deps hpsv3 gives a zip), "
            "or give its place with judges.hpsv3.rubric"
        )
    try:
        tree = ast.parse(path.read_text(encoding="utf-8-sig"))
        said = {ast.unparse(node.targets[0]): node.value for node in tree.body if isinstance(node, ast.Assign)}
        text = "".join(str(ast.literal_eval(said[name])) for name in TEXTS)
    except (OSError, UnicodeDecodeError, SyntaxError, ValueError, LookupError) as error:
        raise ModelError(f"{path} does not have the text of HPSv3 ({' and '.join(TEXTS)})") from error
    if text.count(PLACE) != 1 or text.count(REWARD) != 1:
        raise ModelError(f"the text in {path} is not HPSv3's: {PLACE} and {REWARD} must stand in it once each")
    return text
