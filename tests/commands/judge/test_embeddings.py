"""Embeddings that are kept are an input of their own: equal scores without an image, and everything else refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from stand_ins import Head, Network, Red, picks, png, seat

from datagen.commands.judge import Options, judge_path, shards
from datagen.errors import InputError, ModelError, RunError
from datagen.judges import panel
from datagen.tables import embeddings


def folder(path: Path, count: int = 70) -> Path:
    path.mkdir()
    for k in range(count):
        (path / f"{k:03}.png").write_bytes(b"no image" if k == 5 else png(3 * k, 255 - 3 * k, k % 7))
        if k != 9:
            (path / f"{k:03}.txt").write_text("a nude child" if k == 11 else f"text {'x' * (k % 5)}")
    return path


def rows(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return found


def keep(tmp_path: Path, choices: Any, given: Path | None = None, **options: Any) -> Path:
    kept = tmp_path / "kept.parquet"
    given = given or folder(tmp_path / "d")
    judge_path(given, choices, tmp_path / "first.parquet", Options(embeddings=kept, **options))
    return kept


def test_judges_asked_again_give_the_same_bytes_without_an_image_or_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Network()
    choices = seat(monkeypatch, Head("head", network), Head("plain", network, reads_text=False))
    kept = keep(tmp_path, choices)
    asked = network.asked
    assert asked == 67
    monkeypatch.setattr(panel, "decode", lambda *_: pytest.fail("decoded"))
    judge_path(kept, choices, tmp_path / "again.parquet")
    assert network.asked == asked
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "first.parquet").read_bytes()
    errors = {row["path"]: row["error"] for row in rows(kept) if row["error"]}
    assert list(errors) == ["005.png", "009.png", "011.png"]
    assert rows(kept)[11]["prompt"] is None


def test_they_are_kept_as_the_network_gives_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    networks = Network(), Network("mean@2")
    kept = keep(tmp_path, seat(monkeypatch, *(Head(f"h{k}", one) for k, one in enumerate(networks))))
    table = pq.read_table(kept)
    assert table.schema.names == ["path", "prompt", "error", "digest", "embedding:mean@1", "embedding:mean@2"]
    assert table.schema.field("embedding:mean@1").type == pa.list_(pa.float32())
    assert table["embedding:mean@1"][2].as_py() == [6.0, 249.0, 2.0] == table["embedding:mean@2"][2].as_py()
    assert table["embedding:mean@1"][5].as_py() is None


def test_what_identifies_a_row_is_kept_for_both_images_of_a_pair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = picks(tmp_path / "p.parquet", [(1, 2), (3, 4)], ranking_id=[8, 9])
    choices = seat(monkeypatch, Head("head", Network()))
    kept = keep(tmp_path, choices, given, pairs=True)
    assert [row["ranking_id"] for row in rows(kept)] == ["8", "8", "9", "9"]
    judge_path(kept, choices, tmp_path / "again.parquet")
    assert [row["value"] for row in rows(tmp_path / "again.parquet")] == [
        row["value"] for row in rows(tmp_path / "first.parquet")
    ]
    assert [row["ranking_id"] for row in rows(tmp_path / "again.parquet")] == ["8", "8", "9", "9"]


def test_judges_without_text_leave_prompts_to_later_ones_which_say_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Network()
    kept = keep(tmp_path, seat(monkeypatch, Head("plain", network, reads_text=False)))
    assert [row["path"] for row in rows(kept) if row["embedding:mean@1"] is None] == ["005.png", "011.png"]
    judge_path(kept, seat(monkeypatch, Head("head", network)), tmp_path / "x.parquet")
    errors = {row["path"]: row["error"] for row in rows(tmp_path / "x.parquet") if row["error"]}
    assert errors["009.png"].startswith("no prompt: expected 009.txt") and len(errors) == 3
    judge_path(kept, seat(monkeypatch, Head("plain", network, reads_text=False)), tmp_path / "y.parquet")
    assert (tmp_path / "y.parquet").read_bytes() == (tmp_path / "first.parquet").read_bytes()


def test_who_looks_at_pictures_or_reads_another_network_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = keep(tmp_path, seat(monkeypatch, Head("head", Network())))
    cases: list[tuple[Any, Options, str]] = [
        (Red(), Options(), "the judge red looks at pictures, and .*kept.parquet holds their embeddings only"),
        (Head("h", Network("other@3")), Options(), "reads embeddings by other@3, and .* holds those by mean@1"),
        (Head("h", Network()), Options(embeddings=tmp_path / "y.parquet"), "holds embeddings already"),
        (Head("h", Network()), Options(explain=tmp_path / "y.html"), "holds no pictures to show"),
        (Head("h", Network()), Options(fast=True), "holds no pictures to decode fast"),
        (Head("h", Network()), Options(pairs=True), "holds embeddings and no images: leave out --pairs"),
        (Head("h", Network()), Options(image_column="image"), "leave out --image-column"),
        (Head("h", Network()), Options(prompt_column="text"), "leave out --prompt-column"),
        (Head("h", Network()), Options(prompts=kept), "--prompts names prompts for a folder"),
    ]
    for judge, options, line in cases:
        with pytest.raises((InputError, ModelError), match=line):
            judge_path(kept, seat(monkeypatch, judge), tmp_path / "x.parquet", options)
    with pytest.raises(ModelError, match="--embeddings keeps what judges read of a network, and red reads none"):
        judge_path(tmp_path / "d", seat(monkeypatch, Red()), tmp_path / "x.parquet", cases[2][1])
    with pytest.raises(RunError, match="is to be written twice"):
        judge_path(tmp_path / "d", seat(monkeypatch, Red()), kept, Options(embeddings=kept))
    assert not list(tmp_path.glob("x.parquet*"))


VECTORS: dict[str, tuple[Callable[[], pa.Array], str]] = {
    "of two lengths": (lambda: pa.array([[1.0, 2.0], [1.0]], pa.list_(pa.float32())), "lists of several lengths"),
    "not finite": (lambda: pa.array([[1.0, np.nan], [1.0, 2.0]], pa.list_(pa.float32())), "or no finite numbers"),
    "with holes": (lambda: pa.array([[1.0, None], [1.0, 2.0]], pa.list_(pa.float32())), "or no finite numbers"),
    "empty": (lambda: pa.array([[], []], pa.list_(pa.float32())), "or no finite numbers"),
    "texts": (lambda: pa.array(["a", "b"]), "is string, not lists of float32"),
    "numbers": (lambda: pa.array([1.0, 2.0]), "is double, not lists of float32"),
}


@pytest.mark.parametrize("what", VECTORS)
def test_embeddings_that_cannot_be_used_are_one_line(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, line = VECTORS[what]
    texts = {"path": ["a", "b"], "prompt": ["x", "y"], "error": pa.array([None, None], pa.string())}
    pq.write_table(pa.table(texts | {"embedding:mean@1": make()}), tmp_path / "e.parquet")
    with pytest.raises(InputError, match=line) as error:
        judge_path(tmp_path / "e.parquet", seat(monkeypatch, Head("h", Network())), tmp_path / "x.parquet")
    assert "\n" not in str(error.value) and not list(tmp_path.glob("x.parquet*"))


def test_embeddings_of_others_may_be_doubles_and_lack_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {"path": ["a", "b", "c"], "prompt": ["x", "y", None], "error": pa.array([None] * 3, pa.string())}
    vectors = pa.array([[1.0, 2.0, 0.0], None, [1.0, 1.0, 0.0]], pa.list_(pa.float64()))
    pq.write_table(pa.table(texts | {"embedding:mean@1": vectors}), tmp_path / "e.parquet")
    judge_path(tmp_path / "e.parquet", seat(monkeypatch, Head("h", Network())), tmp_path / "x.parquet")
    assert [(row["value"], row["error"]) for row in rows(tmp_path / "x.parquet")] == [
        (3.0, None),
        (None, "no embedding by mean@1"),
        (None, "no prompt: none was kept with the embedding"),
    ]


def test_what_was_embedded_when_it_was_interrupted_is_kept_and_the_file_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "SHARD", panel.CHUNK)
    network = Network()
    kept = keep(tmp_path, seat(monkeypatch, Head("head", network)))

    class Mortal(Head):
        calls = 0

        def score(self, images: Any, prompts: Any) -> Any:
            self.calls += 1
            if self.calls == 3:
                raise KeyboardInterrupt
            return super().score(images, prompts)

    choices = seat(monkeypatch, Mortal("head", network))
    again = Options(embeddings=tmp_path / "again.parquet")
    with pytest.raises(KeyboardInterrupt):
        judge_path(tmp_path / "d", choices, tmp_path / "x.parquet", again)
    network.asked = 0
    judge_path(tmp_path / "d", choices, tmp_path / "x.parquet", again)
    assert network.asked == 70 - 2 * panel.CHUNK
    assert again.embeddings is not None and again.embeddings.read_bytes() == kept.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "again.parquet", "d", "first.parquet", "kept.parquet", "x.parquet"
    ]  # fmt: skip


def test_a_file_of_embeddings_in_the_folder_that_is_judged_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choices = seat(monkeypatch, Head("head", Network()))
    place = folder(tmp_path / "d", 3)
    judge_path(place, choices, place / "x.parquet", Options(embeddings=place / "e.parquet"))
    told: list[str] = []
    assert judge_path(place, choices, place / "y.parquet", say=told.append).images == 3
    assert "passed over: tables of embeddings: give one by itself (e.parquet)" in told


def test_a_table_is_known_by_its_columns() -> None:
    assert embeddings.backbones(["path", "prompt", "error", "embedding:a", "x"]) == ("a",)
    assert embeddings.backbones(["path", "prompt", "error"]) == embeddings.backbones(["path", "embedding:a"]) == ()
