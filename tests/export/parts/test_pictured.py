"""Pairs with the pictures that they name: each its own, in the order of the pairs, a few of them in memory."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pictured_pairs import FOOTER

from datagen import records, store
from datagen.export import control
from datagen.export.parts import pictured
from datagen.records import Image, Pair
from datagen.store import files as store_files

PNG = b"\x89PNG\r\n\x1a\n"


def image(name: str, prompt: str = "p", size: int = 0) -> Image:
    data = PNG + name.encode() + bytes(size)
    return Image(name, prompt, "chosen", 0, "t", "", 1, "m", "r", "ddim", 20, 4.0, 8, 8, data)


def pair(chosen: str, rejected: str, prompt: str = "p") -> Pair:
    return Pair(
        f"{chosen} {rejected}", "a chef", "calm", "style", "prefer", chosen, rejected, "new", "old", 0.97, 1.0, "{}",
        1, 2, "m", "r", 20, 4.0, "ddim", "pick-style", "openrail++", prompt, "train",
    )  # fmt: skip


def commit(root: Path, images: list[Image], pairs: list[Pair]) -> store.Run:
    run = store.Run(root)
    run.commit("images", 0, records.to_table(Image, images), **FOOTER)
    run.commit("pairs", 0, records.to_table(Pair, pairs), **FOOTER)
    return run


def read(run: store.Run, columns: list[str]) -> list[dict[str, Any]]:
    return pa.concat_tables(pictured.tables(run, 0, columns)).to_pylist()


@given(drawn=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_pair_has_its_own_pictures_in_whatever_order_they_lie(
    drawn: st.DataObject, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "GROUP_BYTES", drawn.draw(st.sampled_from([1, 300, 10_000_000])))
    monkeypatch.setattr(store_files, "ROW_GROUP", drawn.draw(st.integers(1, 4)))
    monkeypatch.setattr(store_files, "TOGETHER", drawn.draw(st.integers(1, 3)))
    names = [f"i{k}" for k in range(drawn.draw(st.integers(1, 12)))]
    images = [image(name, size=drawn.draw(st.integers(0, 200))) for name in names]
    some = drawn.draw(st.lists(st.tuples(st.sampled_from(names), st.sampled_from(names)), max_size=15))
    run = commit(tmp_path_factory.mktemp("run"), images, [pair(*two) for two in some])
    files = {one.image_id: {"bytes": one.image, "path": f"{one.image_id}.png"} for one in images}
    rows = read(run, ["rejected", "pair_id", "chosen"])
    assert rows == [
        {"rejected": files[other], "pair_id": f"{one} {other}", "chosen": files[one]} for one, other in some
    ]
    assert [row["rejected"] for row in read(run, ["rejected"])] == [files[other] for _, other in some]
    assert [row["pair_id"] for row in read(run, ["pair_id"])] == [f"{one} {other}" for one, other in some]


def test_of_one_split_no_picture_of_another_is_looked_at(tmp_path: Path) -> None:
    gone = pair("a", "nowhere")
    tested = dataclasses.replace(pair("b", "a"), split="test")
    run = commit(tmp_path, [image("a"), image("b")], [gone, tested])
    (row,) = pa.concat_tables(pictured.of_split(run, 0, ["chosen", "rejected", "pair_id"], "test")).to_pylist()
    assert (row["pair_id"], row["chosen"]["path"], row["rejected"]["path"]) == ("b a", "b.png", "a.png")
    with pytest.raises(store.Damaged):
        list(pictured.of_split(run, 0, ["rejected"], "train"))
    (none,) = pictured.of_split(commit(tmp_path / "other", [image("a")], []), 0, ["chosen"], "test")
    assert none.column_names == ["chosen"] and not len(none)


def test_equal_images_of_two_prompts_are_read_where_they_lie(tmp_path: Path) -> None:
    images = [image(name, prompt) for prompt in ("p", "q") for name in ("a", "b")]
    run = commit(tmp_path, images, [pair("a", "b"), pair("a", "b", "q")])
    assert [row["chosen"]["path"] for row in read(run, ["chosen"])] == ["a.png", "a.png"]


def test_a_file_of_no_kind_of_picture_has_no_suffix(tmp_path: Path) -> None:
    images = [dataclasses.replace(image("a"), image=b"text"), image("b")]
    (row,) = read(commit(tmp_path, images, [pair("a", "b")]), ["chosen", "rejected"])
    assert (row["chosen"]["path"], row["rejected"]["path"]) == ("a", "b.png")


def test_sides_that_an_arm_exchanged_have_the_pictures_exchanged(tmp_path: Path) -> None:
    run = commit(tmp_path, [image("a"), image("b")], [pair("a", "b")])
    (row,) = read(control.exchanged(run, 1, 0, "swapped"), ["chosen", "rejected", "chosen_prompt"])
    assert (row["chosen"]["path"], row["rejected"]["path"], row["chosen_prompt"]) == ("b.png", "a.png", "old")


@pytest.mark.parametrize("lost", ["a", "b"])
def test_a_pair_of_an_image_that_is_not_there_is_damage_and_no_picture_of_another(tmp_path: Path, lost: str) -> None:
    kept = [image(name) for name in ("a", "b", "c") if name != lost]
    run = commit(tmp_path, kept, [pair("a", "b")])
    with pytest.raises(store.Damaged, match=f"pairs-00000.parquet is damaged .{pictured.GONE}"):
        read(run, ["chosen", "rejected"])


def test_damage_to_the_images_is_found_and_named_when_pairs_are_read(tmp_path: Path) -> None:
    run = commit(tmp_path, [image("a"), image("b")], [pair("a", "b")])
    path = run.shard("images", 0)
    data = bytearray(path.read_bytes())
    data[data.index(PNG) + 9] ^= 1
    path.write_bytes(data)
    with pytest.raises(store.Damaged, match=re.escape(str(path))):
        read(run, ["pair_id", "chosen"])
    assert read(run, ["pair_id"]) == [{"pair_id": "a b"}]


def test_of_a_shard_a_few_row_groups_are_in_memory(tmp_path: Path) -> None:
    count, size = 60, 2_000_000
    run = store.Run(tmp_path)
    images = (records.to_table(Image, [image(f"i{k}", f"p{k // 2}", size)]) for k in range(count))
    run.commit("images", 0, images, **FOOTER)
    pairs = [pair(f"i{2 * k}", f"i{2 * k + 1}", f"p{k}") for k in range(count // 2)]
    run.commit("pairs", 0, records.to_table(Pair, pairs), **FOOTER)
    before = pa.total_allocated_bytes()
    held = [pa.total_allocated_bytes() - before for _ in pictured.tables(run, 0, ["chosen", "rejected"])]
    assert len(held) >= 7 and max(held) < 70_000_000 < count * size


def test_rows_are_made_together_up_to_the_bytes_of_a_row_group_and_one_at_least() -> None:
    half = store.GROUP_BYTES // 2
    assert list(pictured.slices([])) == []
    assert list(pictured.slices([1] * 500)) == [slice(0, 500)]
    assert list(pictured.slices([half, half, 1, 3 * half, 1])) == [slice(0, 2), slice(2, 3), slice(3, 4), slice(4, 5)]
