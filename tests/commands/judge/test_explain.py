"""The page with the best, worst and most disputed images: the right ones, nothing harmful, nothing from outside."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from stand_ins import Duel, Harm, Pale, Red, picks, png, seat

from datagen.commands.judge import Options, judge_path
from datagen.commands.judge.chosen import SHOWN, Ranking
from datagen.errors import RunError

HOSTILE = '"><script>alert(1)</script>{{ 7 * 7 }}'


class Attributes(HTMLParser):
    """Which tags a page has, and all that could load or run something."""

    def __init__(self) -> None:
        super().__init__()
        self.tags, self.sources = set[str](), list[str]()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        harmless = ("alt", "class", "style", "title", "lang", "charset", "name", "content", "http-equiv")
        self.sources += [value or "" for name, value in attributes if name not in harmless]


def page(tmp_path: Path, given: Path, choices: list, **options: object) -> str:  # type: ignore[type-arg]
    out = tmp_path / "page.html"
    judge_path(given, choices, tmp_path / "x.parquet", Options(explain=out, **options))  # type: ignore[arg-type]
    return out.read_text(encoding="utf-8")


def section(text: str, heading: str) -> str:
    return text.split(f"<h2>{heading}</h2>")[1].split("</section>")[0]


def paths(text: str) -> list[str]:
    return re.findall(r'<span class="path">(.*?)</span>', text)


def folder(path: Path, count: int = 20) -> Path:
    path.mkdir()
    for k in range(count):
        (path / f"{k:02}.png").write_bytes(png(10 * k, 255 if k in (3, 19) else 0))
        (path / f"{k:02}.txt").write_text(f"text {k}")
    return path


def test_each_judge_has_its_best_and_worst_in_its_own_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = page(tmp_path, folder(tmp_path / "d"), seat(monkeypatch, Red(), Pale()))
    for judge in ("red", "pale"):  # of one more is better, of the other less
        best, worst = section(text, judge).split("<h3>Worst</h3>")
        assert paths(best) == [f"{k:02}.png" for k in range(19, 13, -1)]
        assert paths(worst) == [f"{k:02}.png" for k in range(SHOWN)]
        assert text.count("data:image/webp;base64,") <= 5 * SHOWN


def test_the_most_disputed_are_those_of_which_judges_are_furthest_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = page(tmp_path, folder(tmp_path / "d"), seat(monkeypatch, Red(), Harm()))
    disputed = section(text, "Most disputed")
    assert paths(disputed)[0] == "19.png"  # red likes it, and harm does not
    assert len(paths(disputed)) == SHOWN
    alone = page(tmp_path, tmp_path / "d", seat(monkeypatch, Red()))
    assert "Most disputed" not in alone


def test_what_is_harmful_keeps_its_place_and_is_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = page(tmp_path, folder(tmp_path / "d"), seat(monkeypatch, Red(), Harm()))
    worst = section(text, "harm").split("<h3>Worst</h3>")[1]
    assert paths(worst)[:2] == ["03.png", "19.png"]
    assert worst.count("not shown: a judge of harm flags it") == 2 and worst.count("<img") == SHOWN - 2
    assert "text 19" not in text and "text 18" in text


def test_the_rejected_image_of_our_own_pairs_about_a_harm_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = {"chosen": [png(9), png(8)], "rejected": [png(1), png(2)], "prompt": ["a", "b"]}
    pq.write_table(pa.table(pairs | {"kind": ["avoid", "prefer"]}), tmp_path / "t.parquet")
    text = page(tmp_path, tmp_path / "t.parquet", seat(monkeypatch, Red()), pairs=True)
    best = section(text, "red").split("<h3>Worst</h3>")[0]
    assert paths(best) == ["t.parquet#0/chosen", "t.parquet#1/chosen", "t.parquet#1/rejected", "t.parquet#0/rejected"]
    assert best.count("<img") == 3
    assert best.count("not shown: its table says that it shows a harm") == 1


def test_a_refused_prompt_and_an_image_that_cannot_be_read_are_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = folder(tmp_path / "d", 4)
    (given / "02.txt").write_text("a nude child")
    (given / "03.png").write_bytes(b"cut")
    text = page(tmp_path, given, seat(monkeypatch, Red(), Pale()))
    assert "nude" not in text and set(paths(text)) == {"00.png", "01.png"}
    assert "refused: 1" in text and "the image cannot be decoded: 1" in text


def test_hostile_texts_are_texts_and_nothing_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = tmp_path / "<b>d"
    given.mkdir()
    name = "<img src=x onerror=alert(1)>&\ufeff"
    (given / f"{name}.png").write_bytes(png(5))
    (given / f"{name}.txt").write_text(HOSTILE + "ü" * 5_000)
    (given / "b.png").write_bytes(png(50))
    (given / "b.txt").write_text("short")
    text = page(tmp_path, given, seat(monkeypatch, Red(), Pale()))
    assert not [sign for sign in ("<script", "<img src=x", "<b>d") if sign in text]
    assert html.escape(HOSTILE, quote=True).replace("&quot;", "&#34;") in text
    assert "ü" * 400 not in text
    found = Attributes()
    found.feed(text)
    assert found.sources and all(source.startswith("data:image/webp;base64,") for source in found.sources)
    known = "html head meta title style body main section div h1 h2 h3 p i b span figure img figcaption footer"
    assert found.tags <= set(known.split())
    assert "default-src 'none'" in text and "http" not in text.replace("http-equiv", "")


def test_its_size_is_bounded_whatever_the_images_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "d").mkdir()
    for k in range(14):
        Image.effect_noise((900, 1300), 90).convert("RGB").save(tmp_path / "d" / f"{k}.jpg", quality=90)
        (tmp_path / "d" / f"{k}.txt").write_text("x" * 900)
    text = page(tmp_path, tmp_path / "d", seat(monkeypatch, Red()))
    assert len(text) < 2 * SHOWN * 80_000 + 20_000


def test_of_pairs_an_image_counts_by_how_probably_it_beats_its_rival(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = picks(tmp_path / "p.parquet", [(200, 10), (30, 90), (50, 50), (7, -1)])
    choices = seat(monkeypatch, Duel(lambda a, b: 0.5 + (a - b) / 400))
    text = section(page(tmp_path, given, choices, pairs=True), "duel").split("<h3>Worst</h3>")
    names = [[path.removeprefix("p.parquet#") for path in paths(part)] for part in text]
    assert names[0][:2] == ["0/jpg_0", "1/jpg_1"] and names[1][:2] == ["0/jpg_1", "1/jpg_0"]


def test_an_input_of_which_nothing_is_scored_still_has_its_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a.png").write_bytes(b"cut")
    (tmp_path / "d" / "a.txt").write_text("x")
    text = page(tmp_path, tmp_path / "d", seat(monkeypatch, Red()))
    assert "1 images, 0 scores, 1 error" in " ".join(text.split()) and "<h2>" not in text


def test_a_page_is_written_beside_the_scores_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given, choices = folder(tmp_path / "d", 2), seat(monkeypatch, Red())
    (tmp_path / "folder.html").mkdir()
    for name, line in (
        ("page.pdf", "would be a page; give a name that ends in .html"),
        ("folder.html", "is a folder"),
    ):
        with pytest.raises(RunError, match=line):
            judge_path(given, choices, tmp_path / "x.parquet", Options(explain=tmp_path / name))
    assert not (tmp_path / "x.parquet").exists()


def test_a_ranking_is_of_the_whole_stream_and_the_earlier_one_comes_first() -> None:
    import numpy as np

    ranking = Ranking()
    for first in range(0, 30, 10):
        ranking.hear(np.array([np.nan, 1.0, 5, 5, 2, 3, 4, 0, -1, np.nan]) - (first == 10), first)
    assert ranking.images == [2, 3, 22, 23, 6, 12]
