"""`datagen audit`: what is planted in a run or in a file of scores is found and named; what cannot be told is said."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image as Pillow
from rich.console import Console

from datagen import export, records, store
from datagen.commands import audit as audits
from datagen.commands.audit import runs, table
from datagen.errors import InputError, RunError
from datagen.recipe import load
from datagen.records import Image, Pair, Prompt, Score, Verdict

COUNT = 60
JUDGES = ("clip", "aesthetic_v1", "pickscore", "hpsv2", "imagereward")  # in the order of the recipe's


def png(random: np.random.Generator, light: float) -> bytes:
    cells = np.clip(random.normal(255 * light, 25, (8, 8, 3)), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Pillow.fromarray(cells).resize((32, 32)).save(file, "png")
    return file.getvalue()


def image(prompt: int, side: str, data: bytes) -> Image:
    return Image(
        f"{prompt} {side}", f"p{prompt}", side, 0, "text", "", 1, "sd15", "r", "ddim", 20, 4.0, 32, 32, data
    )  # fmt: skip


def pair(number: int, split: str) -> Pair:
    return Pair(
        f"pair {number}", f"a chair {number}", "calm", "style", "prefer", f"{number} chosen", f"{number} rejected",
        "a calm chair", "a wild chair", 0.97, 3.0, "{}", 1, 2,
        "sd15", "abc", 20, 4.0, "ddim", "pick-style", "openrail++", f"p{number}", split,
    )  # fmt: skip


@dataclasses.dataclass
class Made:
    """The rows of a run, as they are to be committed."""

    pairs: list[Pair]
    images: list[Image]
    prompts: list[Prompt]
    scores: list[Score]
    verdicts: list[Verdict]


def made(brighter_wins: bool = False, count: int = COUNT, seed: int = 0) -> Made:
    random = np.random.default_rng(seed)
    rows = Made([], [], [], [], [])
    for number in range(count):
        lights = random.uniform(0.2, 0.8, 2)
        files = [png(random, light) for light in (sorted(lights, reverse=True) if brighter_wins else lights)]
        rows.pairs.append(pair(number, "test" if number % 5 == 0 else "train"))
        rows.images += [image(number, side, file) for side, file in zip(("chosen", "rejected"), files, strict=True)]
        rows.prompts.append(
            Prompt(f"p{number}", "x", "style", f"a chair {number}", "a", "b", "", "", f"c{number}", "train", "me")
        )
        better = random.random(len(JUDGES)) < 0.8
        for side in ("chosen", "rejected"):
            leans = random.random(len(JUDGES)) + (better == (side == "chosen"))
            own = f"{number} {side}", f"p{number}"
            rows.scores += [Score(*own, name, "1", "image", lean) for name, lean in zip(JUDGES, leans, strict=True)]
            rows.verdicts.append(Verdict(*own, side, 0, None, leans.tolist(), [], [], [], math.nan))
    return rows


def commit(root: Path, rows: Made, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished run with these rows in one shard."""
    recipe = load("pick-style", [])
    run, profile = store.Run(root), recipe.profile("embedded")
    footer: dict[str, Any] = {"errors": 0, "seconds": 0.0, "digest": "d", "version": "1", "drops": {}}
    for name, record in (
        ("pairs", Pair),
        ("images", Image),
        ("prompts", Prompt),
        ("scores", Score),
        ("verdicts", Verdict),
    ):
        run.commit(name, 0, records.to_table(record, getattr(rows, name)), **footer)
    known = {"run": run, "recipe": recipe, "profile": profile, "shards": 1, "content": "c"}
    others = {field.name: {} for field in dataclasses.fields(export.Finished) if field.name not in known}
    finished = export.Finished(**{**others, **known})
    monkeypatch.setattr(runs.store.Run, "started", lambda self: {"digest": "d"})
    monkeypatch.setattr(runs.recipes, "of_run", lambda settings: (recipe, "embedded"))
    monkeypatch.setattr(runs.build, "finished", lambda *given: finished)
    return root


def shown(found: dict[str, Any]) -> str:
    text = io.StringIO()
    table.show(found, Console(file=text, width=100))
    return text.getvalue()


def test_a_sound_run_has_no_warning_and_equal_runs_give_equal_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, file = audits.audit(commit(tmp_path / "a", made(), monkeypatch))
    assert file == tmp_path / "a" / "audit.json" and json.loads(file.read_text(encoding="utf-8")) == found
    assert not found["warnings"] and found["pairs"] == found["meetings"] == COUNT
    assert all(row["built"] and row["coverage"]["value"] == 1 for row in found["judges"])
    assert 0.1 < found["agreement"]["fleiss"]["value"] < 0.6
    assert found["leaks"]["splits"] == ["test", "train"] and found["leaks"]["images"] == 0
    _, other = audits.audit(commit(tmp_path / "b", made(), monkeypatch))
    assert other.read_bytes() == file.read_bytes()
    assert "no warnings" in shown(found) and "clip (built)" in shown(found)


def test_brighter_wins_is_found_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = audits.audit(commit(tmp_path, made(brighter_wins=True), monkeypatch))
    (brightness,) = [row for row in found["shortcuts"] if row["name"] == "brightness"]
    assert brightness["auc"] > 0.95 and brightness["warned"] and brightness["winner_has_more"] > 0.95
    assert any(line.startswith("shortcut: brightness alone predicts the winner, AUC") for line in found["warnings"])
    assert not [row for row in found["shortcuts"] if row["name"] == "wording length" and row["warned"]]


def test_leaks_and_pictures_that_look_the_same_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = made()
    rows.pairs[1] = dataclasses.replace(rows.pairs[1], prompt="A  Chair 0", chosen_id="0 chosen")  # of the test split
    rows.images[2] = dataclasses.replace(rows.images[0], prompt_id="p1")
    rows.images[5] = dataclasses.replace(rows.images[5], image=rows.images[4].image)
    rows.images[7] = dataclasses.replace(rows.images[7], image=b"no picture")
    found, _ = audits.audit(commit(tmp_path, rows, monkeypatch))
    assert (found["leaks"]["prompts"], found["leaks"]["images"], found["leaks"]["near_duplicate_images"]) == (1, 1, 1)
    twins = found["near_duplicates"]
    assert (twins["pairs_of_one_look"], twins["unread"]) == (1, 1)
    assert twins["pairs_of_one_look_examples"] == ["pair 2"] and twins["groups_across_prompts"] == 1
    assert [line for line in found["warnings"] if "look the same" in line and "first pair pair 2" in line]


@pytest.mark.parametrize(
    ("count", "notes"),
    [
        (0, ["no two images of one prompt meet", "no pair is labelled"]),
        (1, ["all pairs are of one prompt, so there are no intervals", "all pairs are of one split"]),
        (5, ["no two images that meet are of different generators"]),
    ],
)
def test_a_run_too_small_to_tell_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, notes: list[str]
) -> None:
    found, file = audits.audit(commit(tmp_path, made(count=count), monkeypatch))
    for note in notes:
        assert any(line.startswith(note) for line in found["notes"]), note
    assert all(row["auc"] is None and row["note"] for row in found["shortcuts"])
    assert "NaN" not in file.read_text(encoding="utf-8") and shown(found)


def test_judges_that_cannot_be_made_here_are_audited_by_what_they_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, _ = audits.audit(commit(tmp_path / "a", made(count=25), monkeypatch))

    def load_none(choices: Any) -> Any:
        raise runs.ModelError("its weights are not here")

    monkeypatch.setattr(runs.panel, "load", load_none)
    assert audits.audit(commit(tmp_path / "b", made(count=25), monkeypatch))[0] == expected


def test_a_judge_that_was_spared_images_was_asked_about_the_others_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = made()
    spared = {f"p{number}" for number in range(20)}
    rows.scores = [row for row in rows.scores if row.judge != "imagereward" or row.prompt_id not in spared]
    for row in rows.verdicts:
        if row.prompt_id in spared:
            row.lean[-1] = math.nan
            rows.scores.append(Score(row.image_id, row.prompt_id, "imagereward", "1", "settled", None))
    found, _ = audits.audit(commit(tmp_path, rows, monkeypatch))
    last = found["judges"][-1]
    assert (last["asked"], last["not_asked"], last["coverage"]["value"]) == (COUNT - 20, 20, 1.0)


def scores(path: Path, rows: list[tuple[str, str, str, float | None]], **columns: Any) -> Path:
    keys = ("path", "prompt", "judge", "value")
    data = {key: [row[place] for row in rows] for place, key in enumerate(keys)}
    kinds = {"value": pa.float64()}
    made = {key: pa.array(values, kinds.get(key, pa.string())) for key, values in data.items()}
    made["judge_version"] = pa.array(["1"] * len(rows), pa.string())
    pq.write_table(pa.table(made | {key: pa.array(values, pa.string()) for key, values in columns.items()}), path)
    return path


def test_scores_of_images_that_exist(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows: list[tuple[str, str, str, float | None]] = []
    for number in range(40):
        for copy in range(3):
            truth = random.normal()
            for name in ("clip", "nsfw"):  # of nsfw lower is better
                rows.append((f"{number}-{copy}.png", f"prompt {number}", name, truth * (1 if name == "clip" else -1)))
    rows += [("alone.png", "", "clip", 1.0), ("alone.png", "", "nsfw", 1.0)]
    found, file = audits.audit(scores(tmp_path / "scores.parquet", rows))
    assert file.name == "scores.audit.json" and found["meetings"] == 120 and found["prompts"] == 40
    assert not found["judges"][0]["built"] and found["pairs"] == 0
    assert found["agreement"]["pairs"][0]["cohen"]["value"] == 1.0
    assert "2 of 242 scores are of images without a prompt, which meet no other" in found["notes"]
    assert any(line.startswith("no pair is labelled") for line in found["notes"])
    assert any("so together they count as one judge" in line for line in found["warnings"])


def test_scores_of_a_judge_that_compares_and_of_one_that_nobody_knows(tmp_path: Path) -> None:
    rows: list[tuple[str, str, str, float | None]] = []
    opponents = []
    for number in range(30):
        for one, other in (("a", "b"), ("b", "a")):
            rows.append((f"{number}{one}", f"prompt {number}", "my.vlm", 0.9))  # it always prefers the first place
            opponents.append(f"{number}{other}")
    found, _ = audits.audit(scores(tmp_path / "s.parquet", rows, opponent=opponents))
    assert found["judges"][0]["first"]["value"] == 1.0 and found["judges"][0]["consistent"]["value"] == 0.0
    assert "my.vlm prefers the image shown first in 100 % of its answers" in found["warnings"]
    assert "one judge: there is no other that it could agree with" in found["notes"]
    assert "my.vlm is not known here: its higher scores are taken for the better ones" in found["notes"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"no parquet", r"cannot be read as Parquet .*give a run directory, or what datagen judge wrote"),
        (None, r"there is no .*: give a run directory, or a file that datagen judge wrote"),
        (
            pa.table({"prompt": ["a"]}),
            r"is not what datagen judge wrote \(no column path, judge, judge_version, value",
        ),
        (
            pa.table(
                {name: pa.array([], pa.string()) for name in ("path", "prompt", "judge", "judge_version", "value")}
            ),
            "holds no scores: judge some images first",
        ),
    ],
)
def test_what_is_no_file_of_scores_is_one_line(tmp_path: Path, content: Any, says: str) -> None:
    path = tmp_path / "x.parquet"
    if isinstance(content, pa.Table):
        pq.write_table(content, path)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=says) as caught:
        audits.audit(path)
    assert "\n" not in str(caught.value) and not list(tmp_path.glob("*.json"))


def test_a_folder_that_is_no_run_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=re.escape("is not a run directory (no recipe.json)")):
        audits.audit(tmp_path)
    assert not list(tmp_path.iterdir())
