"""Each format as its reader sees it: the same pairs, labels and bytes; what it cannot hold is counted."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pictured_pairs
import pyarrow.parquet as pq
import pytest
from pictured_pairs import PICTURES
from PIL import Image as Pillow

from datagen import export as exports
from datagen import recipe as recipes
from datagen import records, store
from datagen.errors import RunError
from datagen.export import kohya
from datagen.export.parts import mark
from datagen.images.kinds import suffix_of
from datagen.labels.answers import exchanged
from datagen.records import Image, Label, Pair, Prompt

HOSTILE = (
    "a chef <b>",
    "</script><script>alert(1)</script>",
    "tab\there, line\nbreak, \x07 bell",
    "\u202eright to left שלום",
    "../../etc/passwd",
    "quotes \" and ' and, commas; 100 %",
    "x" * 10_000,
    "雪の中の猫 🐈",
)
FORMATS = [name for name in exports.FORMATS.names() if name not in ("huggingface", "lists")]


def picture(shade: int, kind: str = "PNG") -> str:
    file = io.BytesIO()
    Pillow.new("RGB", (8, 8), (shade % 256, shade // 256, 0)).save(
        file, kind, **({"lossless": True} if kind == "WEBP" else {})
    )
    return pictured_pairs.keep(file.getvalue())


def pair(number: int, **changes: Any) -> Pair:
    kind = ("PNG", "WEBP")[number % 2]
    made = Pair(
        records.content_id("pair", number), HOSTILE[number % len(HOSTILE)] + f" {number}", "pixel art | preferred <b>",
        "style / of ..", "avoid", picture(2 * number, kind), picture(2 * number + 1, kind), f"new {number}", "old",
        0.97, 1.0, "{}", 1, 2, "some/model", "abc", 20, 4.0, "ddim", "pick-style", "openrail++",
        records.content_id("prompt", number), "test" if number % 5 == 0 else "train", rejected_generator="other/model",
    )  # fmt: skip
    return dataclasses.replace(made, **changes)


def commit(run: store.Run, stage: str, record: type, rows: list[Any], index: int = 0) -> None:
    footer: dict[str, Any] = {"errors": 0, "seconds": 0.0, "digest": "d", "version": "1", "drops": {}}
    run.commit(stage, index, records.to_table(record, rows), **footer)


def finish(root: Path, rows: list[Pair], recipe: str = "pick-style", shards: int = 2) -> exports.Finished:
    run, size = store.Run(root), -(-len(rows) // shards)
    for shard in range(shards):
        pictured_pairs.commit(run, shard, rows[shard * size : (shard + 1) * size])
        commit(run, "scores", records.Score, [], shard)
    of = recipes.load(recipe, [])
    return exports.Finished(run, of, of.profile("sd15"), shards, "c", {"tie": 3}, {}, {})


ROWS = [pair(number) for number in range(12)]
TIE = pair(20, probability=0.5)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> exports.Finished:
    return finish(tmp_path_factory.mktemp("run"), [*ROWS[:7], TIE, *ROWS[7:]])


@pytest.fixture(scope="module")
def written(finished: exports.Finished, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a format, written once."""
    root = tmp_path_factory.mktemp("exports")

    def folder(name: str) -> Path:
        exports.write(finished, name, root / name)
        return root / name

    return folder


def table(folder: Path, split: str) -> list[dict[str, Any]]:
    return [row for path in sorted(folder.glob(f"data/{split}-*")) for row in pq.read_table(path).to_pylist()]


def of(split: str) -> list[Pair]:
    return [row for row in ROWS if row.split == split]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_there_once_whole_and_says_what_it_left_out(
    name: str, finished: exports.Finished, written: Callable[[str], Path]
) -> None:
    folder = written(name)
    assert not exports.write(finished, name, folder)
    text = (folder / "README.md").read_text()
    assert "3 × tie" in text
    if name not in ("label_studio", "argilla", "croissant"):
        assert "1 × ties" in text and f"{len(of('train'))} train" in text
    assert all(re.fullmatch(r"[\w./-]+", path.relative_to(folder).as_posix()) for path in folder.rglob("*"))


@pytest.mark.parametrize("name", FORMATS)
def test_equal_pairs_give_equal_bytes_however_they_are_sharded(
    name: str, tmp_path: Path, written: Callable[[str], Path]
) -> None:
    exports.write(finish(tmp_path / "run", [*ROWS[:7], TIE, *ROWS[7:]], shards=5), name, tmp_path / "out")
    first, second = written(name), tmp_path / "out"
    files = [path.relative_to(first) for path in sorted(first.rglob("*")) if path.is_file()]
    assert files == [path.relative_to(second) for path in sorted(second.rglob("*")) if path.is_file()]
    assert all((first / path).read_bytes() == (second / path).read_bytes() for path in files)


@pytest.mark.parametrize("name", FORMATS)
def test_a_run_without_a_pair_gives_what_its_readers_can_open(name: str, tmp_path: Path) -> None:
    exports.write(finish(tmp_path / "run", []), name, tmp_path / "out")
    for path in tmp_path.glob("out/**/*.parquet"):
        assert pq.read_table(path).num_rows == 0
    assert (tmp_path / "out" / "README.md").is_file()


def test_pick_a_pic_has_plain_bytes_labels_of_1_and_0_and_both_orders(
    written: Callable[[str], Path], tmp_path: Path
) -> None:
    import datasets

    rows = list(datasets.load_dataset(str(written("pick_a_pic")), split="train", cache_dir=str(tmp_path)))
    assert len(rows) == len(of("train")) and {row["label_0"] for row in rows} == {0.0, 1.0}
    for row, wanted in zip(rows, of("train"), strict=True):
        first, second = (row["jpg_0"], row["jpg_1"]) if row["label_0"] else (row["jpg_1"], row["jpg_0"])
        assert (row["caption"], first, second) == (
            wanted.prompt,
            PICTURES[wanted.chosen_id],
            PICTURES[wanted.rejected_id],
        )
        assert row["label_0"] + row["label_1"] == 1 and bool(row["label_0"]) is not exchanged(wanted.pair_id)
        assert Pillow.open(io.BytesIO(row["jpg_0"])).size == (8, 8)


def test_the_trainer_reads_the_same_pairs_from_the_formats_that_it_knows(written: Callable[[str], Path]) -> None:
    from training import data

    wanted = [(row.prompt, PICTURES[row.chosen_id], PICTURES[row.rejected_id]) for row in of("train")]
    for name, source in (
        ("pick_a_pic", "data"),
        ("dual_captions", "data"),
        ("rewards", "data"),
        ("webdataset", "train-00000.tar"),
        ("livo", "train"),
    ):
        read = data.load(str(written(name) / source))
        found = [
            (prompt, read.images.bytes(chosen), read.images.bytes(rejected))
            for prompt, chosen, rejected in zip(read.prompts, read.chosen, read.rejected, strict=True)
        ]
        assert sorted(found) == sorted(wanted), name
    assert set(read.principles) == {ROWS[0].principle}


def test_dual_captions_are_there_for_dcpo_and_equal_ones_are_left_out(tmp_path: Path) -> None:
    from training import data

    rows = [pair(1), pair(2, rejected_prompt="new 2"), pair(3)]
    exports.write(finish(tmp_path / "run", rows), "dual_captions", tmp_path / "out")
    read = data.load(str(tmp_path / "out" / "data"))
    assert (read.chosen_captions, read.rejected_captions) == (["new 1", "new 3"], ["old", "old"])
    assert "1 × pairs whose two captions are the same" in (tmp_path / "out" / "README.md").read_text()


def test_single_images_are_there_once_and_not_on_both_sides(tmp_path: Path) -> None:
    import datasets

    one, two, three = (picture(shade) for shade in (1, 2, 3))
    rows = [
        pair(1, prompt_id="p", prompt="p", chosen_id=one, rejected_id=two, probability=0.7),
        pair(2, prompt_id="p", prompt="p", chosen_id=one, rejected_id=three, probability=0.9, split="train"),
        pair(3, prompt_id="p", prompt="p", chosen_id=three, rejected_id=two),
    ]
    exports.write(finish(tmp_path / "run", rows, shards=1), "single_images", tmp_path / "out")
    found = list(datasets.load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache")))
    assert [(row["label"], row["probability"]) for row in found] == [(True, 0.9), (False, 0.97)]
    assert [row["image"].getpixel((0, 0))[0] for row in found] == [1, 2]
    assert "1 × images that are chosen in one pair" in (tmp_path / "out" / "README.md").read_text()


def test_a_judge_is_taught_by_two_images_a_question_and_the_right_answer(
    written: Callable[[str], Path], tmp_path: Path
) -> None:
    import datasets

    folder = written("judging")
    rows = list(datasets.load_dataset(str(folder), split="train", cache_dir=str(tmp_path)))
    for row, wanted in zip(rows, of("train"), strict=True):
        (asked,), (right,), (wrong,) = row["prompt"], row["chosen"], row["rejected"]
        assert asked["role"] == "user" and wanted.prompt in asked["content"] and wanted.principle in asked["content"]
        assert {right["content"], wrong["content"]} == {"1", "2"} and right["role"] == "assistant"
        better = row["images"][int(right["content"]) - 1]
        assert better.getpixel((0, 0)) == Pillow.open(io.BytesIO(PICTURES[wanted.chosen_id])).getpixel((0, 0))


def test_webdataset_itself_reads_the_archives(written: Callable[[str], Path]) -> None:
    import webdataset

    read = webdataset.WebDataset(str(written("webdataset") / "train-00000.tar"), shardshuffle=False)
    for sample, wanted in zip(read, of("train"), strict=True):
        kind = suffix_of(PICTURES[wanted.chosen_id])[1:]
        assert (sample["__key__"], sample["prompt.txt"].decode()) == (wanted.pair_id, wanted.prompt)
        assert (sample[f"chosen.{kind}"], sample[f"rejected.{kind}"]) == (
            PICTURES[wanted.chosen_id],
            PICTURES[wanted.rejected_id],
        )
        assert json.loads(sample["json"])["probability"] == wanted.probability


def test_livo_keeps_a_scene_a_prompt_each_image_once_and_needs_a_value(tmp_path: Path) -> None:
    one, two, three = (picture(shade) for shade in (1, 2, 3))
    rows = [
        pair(1, prompt_id="p", prompt="p", chosen_id=one, rejected_id=two),
        pair(2, prompt_id="p", prompt="p", chosen_id=one, rejected_id=three),
        pair(3, principle=" "),
    ]
    exports.write(finish(tmp_path / "run", rows, shards=1), "livo", tmp_path / "out")
    (index,) = (tmp_path / "out").rglob("metadata.jsonl")
    lines = [json.loads(line) for line in index.read_text().splitlines()]
    assert index.parent == tmp_path / "out/train/style-of/p"
    assert [line["label"] for line in lines] == [1, 0, 0] and lines[0]["value"] == rows[0].principle
    assert [(index.parent / line["file_name"]).read_bytes() for line in lines] == [
        PICTURES[name] for name in (one, two, three)
    ]
    text = (tmp_path / "out" / "README.md").read_text()
    assert "1 × pairs without a principle" in text and "- pairs: 2 train" in text


@pytest.mark.parametrize(
    ("name", "chosen", "rejected", "caption"),
    [
        ("kohya", "w/{}", "l/{}", "w/{}.txt"),
        ("onetrainer", "chosen/{}", "rejected/{}", "chosen/{}.txt"),
        ("simpletuner", "chosen/{}", "rejected/{}", "chosen/{}.txt"),
    ],
)
def test_folders_hold_both_images_of_a_name_and_the_caption_in_one_line(
    name: str, chosen: str, rejected: str, caption: str, written: Callable[[str], Path]
) -> None:
    folder = written(name)
    for row in ROWS:
        suffix = suffix_of(PICTURES[row.chosen_id])
        own = folder / row.split
        assert (own / f"{chosen.format(row.pair_id)}{suffix}").read_bytes() == PICTURES[row.chosen_id]
        assert (own / f"{rejected.format(row.pair_id)}{suffix}").read_bytes() == PICTURES[row.rejected_id]
        assert (own / caption.format(row.pair_id)).read_text() == " ".join(row.prompt.split())
    pictures = [path for path in folder.rglob("*") if path.suffix in (".png", ".webp")]
    assert len(pictures) == 2 * len(ROWS)
    if name == "kohya":
        assert tomllib.loads((folder / "dataset.toml").read_text())["general"]["caption_extension"] == ".txt"
    if name == "simpletuner":
        backends = {one["id"]: one for one in json.loads((folder / "multidatabackend.json").read_text())}
        assert backends["chosen"]["conditioning_data"] == ["rejected"]
        assert all((folder / backends[side]["instance_data_dir"]).is_dir() for side in ("chosen", "rejected"))


def test_a_pair_of_two_kinds_of_file_is_left_out_where_names_must_be_equal(tmp_path: Path) -> None:
    run = finish(tmp_path / "run", [pair(1), pair(2, chosen_id=picture(1, "PNG"), rejected_id=picture(2, "WEBP"))])
    for name, pictures in (("simpletuner", 2), ("kohya", 4), ("onetrainer", 4)):
        exports.write(run, name, tmp_path / name)
        found = [path for path in (tmp_path / name).rglob("*") if path.suffix in (".png", ".webp")]
        assert len(found) == pictures
        assert ("1 × pairs of two kinds of file" in (tmp_path / name / "README.md").read_text()) == (pictures == 2)


def test_an_empty_prompt_is_an_empty_line(tmp_path: Path) -> None:
    exports.write(finish(tmp_path / "run", [pair(1, prompt=" \n ")]), "kohya", tmp_path / "out")
    assert [path.read_text() for path in (tmp_path / "out").rglob("*.txt")] == ["\n", "\n"]


def test_flow_factory_gets_the_keys_of_its_schema_and_no_others(written: Callable[[str], Path]) -> None:
    folder = written("flow_factory")
    rows = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    for row, wanted in zip(rows, of("train"), strict=True):
        assert set(row) == {"schema_version", "input", "supervision", "metadata"} and row["schema_version"] == 2
        assert row["input"] == {"prompt": wanted.prompt, "media": []}
        assert set(row["supervision"]) == {"type", "chosen", "rejected"} and row["supervision"]["type"] == "preference"
        for side in ("chosen", "rejected"):
            (media,) = row["supervision"][side]["media"]
            assert set(media) == {"type", "path"} and media["type"] == "image"
            assert (folder / media["path"]).read_bytes() == PICTURES[getattr(wanted, f"{side}_id")]
    asked = [json.loads(line) for line in (folder / "test.jsonl").read_text().splitlines()]
    assert asked == [{"prompt": row.prompt} for row in of("test")]


def test_verl_omni_has_paths_and_scores_of_which_the_winners_is_the_higher(tmp_path: Path) -> None:
    rows = [pair(1), pair(2, probability=0.3), pair(5)]
    exports.write(finish(tmp_path / "run", rows), "verl_omni", tmp_path / "out")
    (row,) = pq.read_table(tmp_path / "out" / "train-00000-of-00001.parquet").to_pylist()
    assert (row["win_score"], row["uid"]) == (0.97, rows[0].pair_id) and row["win_score"] >= row["lose_score"]
    assert row["prompt"] == [{"role": "user", "content": rows[0].prompt}]
    assert (tmp_path / "out" / row["img_win"]).read_bytes() == PICTURES[rows[0].chosen_id]
    assert (tmp_path / "out" / row["img_lose"]).read_bytes() == PICTURES[rows[0].rejected_id]
    assert "1 × pairs whose label is less likely right than wrong" in (tmp_path / "out" / "README.md").read_text()
    assert pq.read_table(tmp_path / "out" / "test-00000-of-00001.parquet").num_rows == 1


def test_a_reward_model_reads_the_preferred_path_first(written: Callable[[str], Path]) -> None:
    folder = written("reward_model")
    for split in ("train", "test"):
        for row, wanted in zip(json.loads((folder / f"{split}.json").read_text()), of(split), strict=True):
            assert row["prompt"] == wanted.prompt and row["confidence"] == 0.97
            assert (folder / row["path1"]).read_bytes() == PICTURES[wanted.chosen_id]
            assert (folder / row["path2"]).read_bytes() == PICTURES[wanted.rejected_id]
            assert (row["model1"], row["model2"]) == ("some/model", "other/model")


def test_label_studio_gets_tasks_in_both_orders_with_the_label_as_prediction(written: Callable[[str], Path]) -> None:
    folder = written("label_studio")
    (path,) = (folder / "tasks").glob("*.json")
    for task, wanted in zip(json.loads(path.read_text()), [*ROWS[:7], TIE, *ROWS[7:]], strict=True):
        (said,) = task["predictions"]
        side = {"left": "image_a", "right": "image_b"}[said["result"][0]["value"]["selected"]]
        assert task["data"]["prompt"] == wanted.prompt and task["data"]["pair_id"] == wanted.pair_id
        assert (folder / task["data"][side].partition("?d=")[2]).read_bytes() == PICTURES[wanted.chosen_id]
        assert (side == "image_b") is exchanged(wanted.pair_id) and said["score"] == wanted.probability


def test_argilla_gets_records_that_hold_their_pictures(written: Callable[[str], Path]) -> None:
    lines = (written("argilla") / "records.jsonl").read_text().splitlines()
    for record, wanted in zip(map(json.loads, lines), [*ROWS[:7], TIE, *ROWS[7:]], strict=True):
        (said,) = record["suggestions"]
        head, _, data = record["fields"][said["value"]].partition(";base64,")
        assert head in ("data:image/png", "data:image/webp") and base64.b64decode(data) == PICTURES[wanted.chosen_id]
        assert (record["id"], record["fields"]["prompt"]) == (wanted.pair_id, wanted.prompt)


def ranked(tmp_path: Path) -> exports.Finished:
    """One prompt whose images a to d are ranked in this order, c and d alike, and another without a comparison."""
    of = recipes.load("open-preferences", ['pairing="list"'])
    run = store.Run(tmp_path / "run")
    commit(run, "prompts", Prompt, [Prompt(n, "x", "", f"text {n}", "", "", "", "", n, "train", "t") for n in "pq"])
    chances = [("a", "b", 0.9), ("a", "c", 0.95), ("a", "d", 0.95), ("b", "c", 0.8), ("b", "d", 0.8), ("c", "d", 0.5)]
    commit(run, "labels", Label, [Label("p", *two, None, chance) for *two, chance in chances])
    images = [
        Image(name, prompt, "candidate", k, "", "", 1, "m", "r", "ddim", 1, 1.0, 8, 8, PICTURES[picture(k)])
        for k, (prompt, name) in enumerate([("q", "z"), ("p", "a"), ("p", "b"), ("p", "c"), ("p", "d")])
    ]
    commit(run, "images", Image, images)
    return exports.Finished(run, of, of.profile("sd15"), 1, "c", {}, {}, {})


def test_ranked_lists_become_neighbours_whose_rewards_the_trainer_reads_as_the_same_order(tmp_path: Path) -> None:
    from training import data

    exports.write(ranked(tmp_path), "rewards", tmp_path / "out")
    read = data.load(str(tmp_path / "out" / "data"))
    lists = data.as_lists(read)
    assert lists.prompts == ["text p"] and len(lists.rows[0]) == 3
    assert lists.relevance[0] == sorted(lists.relevance[0], reverse=True) and 0 < min(lists.relevance[0])
    assert [read.images.bytes(row) for row in lists.rows[0]] == [PICTURES[picture(k)] for k in (1, 2, 3)]
    rows = table(tmp_path / "out", "train")
    assert all(row["chosen_reward"] > row["rejected_reward"] for row in rows)
    assert "1 × neighbours of equal score" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "rewards"])
def test_pictures_are_marked(name: str, finished: exports.Finished, tmp_path: Path) -> None:
    exports.write(exports.marked(finished, mark.of("xmp")), name, tmp_path / "out")
    assert exports.write(finished, name, tmp_path / "out")  # without the mark it is another export
    exports.write(exports.marked(finished, mark.of("xmp")), name, tmp_path / "out")
    held = b"".join(path.read_bytes() for path in sorted((tmp_path / "out").rglob("*")) if path.is_file())
    held += b"".join(map(base64.b64decode, re.findall(rb"base64,([^\"]+)", held)))
    assert held.count(b"Iptc4xmpExt:DigitalSourceType=") >= 16
    assert "says in XMP that a machine made it" in (tmp_path / "out" / "README.md").read_text()


def test_found_pictures_are_not_said_to_be_made_by_a_machine(finished: exports.Finished, tmp_path: Path) -> None:
    profile = finished.profile.model_copy(update={"model": recipes.FOUND})
    found = exports.marked(dataclasses.replace(finished, profile=profile), mark.of("xmp"))
    exports.write(found, "webdataset", tmp_path / "out")
    assert b"DigitalSourceType" not in (tmp_path / "out" / "train-00000.tar").read_bytes()
    assert "were found, not drawn here" in (tmp_path / "out" / "README.md").read_text()


def test_a_kind_that_cannot_be_marked_is_counted(tmp_path: Path) -> None:
    gif = io.BytesIO()
    Pillow.new("RGB", (4, 4)).save(gif, "GIF")
    rows = [pair(1, chosen_id=pictured_pairs.keep(gif.getvalue()))]
    exports.write(exports.marked(finish(tmp_path / "run", rows), mark.of("xmp")), "kohya", tmp_path / "out")
    assert "1 × pictures of a kind that cannot carry the mark" in (tmp_path / "out" / "README.md").read_text()
    assert (tmp_path / "out/train/w" / f"{rows[0].pair_id}.gif").read_bytes() == gif.getvalue()


def test_an_arm_of_wrong_labels_says_so_wherever_it_is_exported(finished: exports.Finished, tmp_path: Path) -> None:
    exports.write(exports.arm(finished, "swapped"), "reward_model", tmp_path / "out")
    (first, *_) = json.loads((tmp_path / "out" / "train.json").read_text())
    assert (tmp_path / "out" / first["path1"]).read_bytes() == PICTURES[of("train")[0].rejected_id]
    assert "CONTROL ARM" in (tmp_path / "out" / "README.md").read_text()


def test_progress_is_told_by_pairs(finished: exports.Finished, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    told = dataclasses.replace(finished, progress=lambda *what: seen.append(what))
    exports.write(told, "kohya", tmp_path / "out")
    assert seen[0] == ("export", 0, 13) and ("export", 13, 13) in seen
    assert not [one for one in seen if one[0] == "digests"]  # of few files


@pytest.mark.parametrize("text", ["", "# a README\n", "<!-- made from: -->", "<!-- x made from: c -->", "\xff"])
def test_a_readme_of_somebody_else_is_no_stamp(text: str, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_bytes(text.encode("latin-1"))
    assert kohya.stamp(tmp_path) is None


@pytest.mark.parametrize("digests", [True, False])
@pytest.mark.parametrize("there", ["kohya", "webdataset", "huggingface"])
def test_a_format_is_not_taken_for_another_and_does_not_take_its_place(
    there: str, digests: bool, finished: exports.Finished, tmp_path: Path
) -> None:
    exports.write(finished, there, tmp_path / "out")
    if not digests:
        (tmp_path / "out.sha256").unlink()
    before = sorted(path.name for path in (tmp_path / "out").rglob("*"))
    for other in ("livo", "rewards", "croissant"):
        what = f"a {there} export," if digests else "something that is"
        with pytest.raises(RunError, match=f"holds {what} not a {other} export"):
            exports.write(finished, other, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").rglob("*")) == before


def test_mlcroissant_reads_the_metadata_and_a_pair_with_its_pictures(
    written: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import mlcroissant

    monkeypatch.setenv("CROISSANT_CACHE", str(tmp_path))
    read = mlcroissant.Dataset(str(written("croissant") / "croissant.json"))
    assert not read.metadata.ctx.issues.errors
    name = "train-00000-of-00001"
    first = next(iter(read.records(name)))
    wanted = of("train")[0]
    assert first[f"{name}/prompt"].decode() == wanted.prompt
    assert first[f"{name}/chosen"].getpixel((0, 0)) == Pillow.open(io.BytesIO(PICTURES[wanted.chosen_id])).getpixel(
        (0, 0)
    )
    assert float(first[f"{name}/probability"]) == wanted.probability
