"""NudeNet: a YOLOv8 in ONNX, as its package asks it, traps and all. The network itself runs where onnxruntime is."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from datagen import judges
from datagen.errors import ModelError
from datagen.judges import nudenet, panel, views
from datagen.judges.networks import detections
from datagen.judges.nudenet import LABELS
from datagen.recipe import JudgeChoice
from datagen.weights import onnx

NAMES = dict(enumerate(LABELS))
SIZES = [(320, 320), (640, 640), (96, 64), (50, 200), (401, 33), (1, 1), (900, 700)]


def pictures() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (high, wide, 3), dtype=np.uint8)) for wide, high in SIZES]


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judges that were made for other tests are forgotten, and onnxruntime counts as installed."""
    judges._load_once.cache_clear()
    monkeypatch.setattr(onnx, "check", lambda what: None)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnxruntime", reason="onnxruntime runs it, and is an optional extra")
    import tiny_yolo

    path = tmp_path_factory.mktemp("nudenet") / nudenet.FILE
    return tiny_yolo.export(path, tiny_yolo.network(len(LABELS)), 320, names=NAMES, imgsz=[320, 320])


class Session:
    """A network that gives what it was made with, and keeps what it was given."""

    def __init__(self, output: Any, **said: str) -> None:
        self._output, self.custom_metadata_map, self.given = output, said, list[Any]()

    def get_inputs(self) -> list[Any]:
        return [type("Input", (), {"name": "images"})]

    def get_modelmeta(self) -> Session:
        return self

    def run(self, wanted: None, inputs: dict[str, Any]) -> list[Any]:
        self.given.append(inputs["images"])
        return [self._output]


def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, session: Session, **options: Any) -> Any:
    """A judge that asks a session in the place of a network."""
    file = tmp_path / nudenet.FILE
    file.write_bytes(b"any")
    monkeypatch.setattr(onnx, "load", lambda path: session)
    return judges.load("nudenet", {"weights": str(file), **options})


def output(**boxes: float) -> Any:
    """(1, 22, N): one box of a class each, apart from each other."""
    found = np.zeros((1, 4 + len(LABELS), max(1, len(boxes))), np.float32)
    for place, (name, score) in enumerate(boxes.items()):
        found[0, :4, place] = 20 + 40 * place, 20, 10, 10
        found[0, 4 + LABELS.index(name), place] = score
    return found


def test_each_kind_has_its_surest_box_and_the_first_column_the_surest_that_is_not_safe(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    boxes = {"FACE_FEMALE": 0.9, "MALE_BREAST_EXPOSED": 0.8, "ANUS_EXPOSED": 0.5, "BUTTOCKS_EXPOSED": 0.4}
    judge = asked(monkeypatch, tmp_path, Session(output(**boxes)))
    (found,) = judge.score([Image.new("RGB", (320, 320))], [""])
    said = dict(zip(judge.facts.categories, found.tolist(), strict=True))
    assert said == pytest.approx(dict.fromkeys(said, 0) | boxes | {"unsafe": 0.5}, abs=1e-6)
    assert judge.score([], []).shape == (0, 19) and not judge.facts.higher_is_better and not judge.facts.reads_text


@pytest.mark.parametrize("safe", ["FACE_MALE", "BELLY_EXPOSED", "FEET_EXPOSED", "ARMPITS_EXPOSED", "ANUS_COVERED"])
def test_what_is_safe_leaves_the_first_column_at_nothing(
    safe: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    judge = asked(monkeypatch, tmp_path, Session(output(**{safe: 0.9})))
    assert judge.score([Image.new("RGB", (320, 320))], [""])[0, 0] == 0


@pytest.mark.parametrize(("channels", "first"), [("bgr", 3), ("rgb", 1)])
def test_the_network_is_given_blue_first_as_the_package_gives_it_unless_told(
    channels: str, first: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    session = Session(output())
    asked(monkeypatch, tmp_path, session, channels=channels).score([Image.new("RGB", (64, 32), (1, 2, 3))], [""])
    (given,) = session.given
    assert given.shape == (1, 3, 320, 320) and given.dtype == np.float32
    assert given[0, :, 0, 0] * 255 == pytest.approx([first, 2, 4 - first])
    assert not given[0, :, 162:].any()  # padded below, not around the middle


def test_a_file_says_itself_how_large_pictures_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    session = Session(output(), names=str(NAMES), imgsz="[640, 640]")
    asked(monkeypatch, tmp_path, session).score([Image.new("RGB", (64, 32))], [""])
    assert session.given[0].shape == (1, 3, 640, 640)


@pytest.mark.parametrize(
    ("session", "message"),
    [
        (Session(output(), names="{0: 'person', 1: 'bicycle'}"), "finds other things than NudeNet: give 320n.onnx"),
        (Session(output(), names="__import__('os')"), "does not say what it finds"),
        (Session(output(), imgsz="[]"), "does not say what it finds"),
        (Session(np.zeros((1, 84, 3), np.float32)), "not NudeNet's 18 classes"),
        (Session(output() * np.float32(np.nan)), "numbers that are not finite"),
    ],
)
def test_another_network_is_refused_in_one_line(
    session: Session, message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=message) as error:
        asked(monkeypatch, tmp_path, session).score([Image.new("RGB", (8, 8))], [""])
    assert "\n" not in str(error.value)


def test_weights_are_found_where_they_are_given_or_kept_or_in_the_installed_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATAGEN_WEIGHTS", str(tmp_path / "kept"))
    with pytest.raises(ModelError, match="needs 320n.onnx .*c15d8273.* of the package nudenet"):
        nudenet._find("")
    package = tmp_path / "site" / "nudenet"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (package / nudenet.FILE).write_bytes(b"any")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert nudenet._find("") == package / nudenet.FILE
    larger = tmp_path / "640m.onnx"
    larger.write_bytes(b"any")
    assert nudenet._find(str(larger)) == larger
    with pytest.raises(ModelError, match="is not there"):
        nudenet._find(str(tmp_path / "none"))
    (package / nudenet.FILE).unlink()
    with pytest.raises(ModelError, match="is not there"):
        nudenet._find("")


def test_without_onnxruntime_it_is_said_how_to_install_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.undo()
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "onnxruntime" else find(name))
    (tmp_path / nudenet.FILE).write_bytes(b"any")
    with pytest.raises(
        ModelError, match=r"the judge nudenet needs onnxruntime, .* `pip install onnxruntime`, or .*\[nudenet\]"
    ):
        judges.load("nudenet", {"weights": str(tmp_path)})
    assert "nudenet" not in sys.modules


def test_equals_its_network_and_its_rules(published: Path) -> None:
    """The same YOLOv8 in PyTorch, the view that is held against OpenCV elsewhere, and each rule."""
    import tiny_yolo

    network = tiny_yolo.network(len(LABELS))
    judge: Any = judges.load("nudenet", {"weights": str(published)})
    images, view = pictures(), views.letterbox_bottom_right(320)
    found = judge.score(images, [""] * len(images))
    for image, row in zip(images, found, strict=True):
        pixels = views.normalise([view(image)[..., ::-1]], view)
        (said,) = judge._loaded[0].run(None, {"images": pixels})
        with torch.no_grad():
            assert said == pytest.approx(network(torch.from_numpy(pixels)).numpy(), abs=1e-2)  # pixels
            assert said[0, 4:] == pytest.approx(network(torch.from_numpy(pixels))[0, 4:].numpy(), abs=1e-4)
        expected = np.zeros(len(LABELS))
        for kind, score in zip(*detections.found(said[0], 320, *image.size), strict=True):
            expected[kind] = max(expected[kind], score)
        assert row[1:].tolist() == expected.tolist() and expected.any()


def test_a_score_depends_on_its_picture_alone_and_on_the_order_of_colours(published: Path) -> None:
    images = pictures()[:4]
    judge: Any = judges.load("nudenet", {"weights": str(published)})
    whole = judge.score(images, [""] * len(images))
    alone = np.concatenate([judge.score([image], ["a text"]) for image in images[::-1]])[::-1]
    assert (whole == alone).all()
    other: Any = judges.load("nudenet", {"weights": str(published), "channels": "rgb"})
    assert (other.score(images, [""] * len(images)) != whole).any() and other.version != judge.version


def test_the_panel_keeps_a_column_a_kind(published: Path, tmp_path: Path) -> None:
    file = tmp_path / "it.png"
    pictures()[2].save(file)
    chosen = panel.load([JudgeChoice(name="nudenet", options={"weights": str(published)})])
    (answer,) = panel.ask(chosen, [panel.Question(file, ("a dog", "a cat"))])
    assert answer.scores["nudenet"].shape == (1, 19)


def test_a_damaged_file_is_refused_in_one_line(published: Path, tmp_path: Path) -> None:
    for content in (b"", b"not a network", published.read_bytes()[:5000]):
        (tmp_path / nudenet.FILE).write_bytes(content)
        judges._load_once.cache_clear()
        with pytest.raises(ModelError, match="is no ONNX network that can be run") as error:
            judges.load("nudenet", {"weights": str(tmp_path)}).score(pictures()[:1], [""])  # type: ignore[attr-defined]
        assert "\n" not in str(error.value)
