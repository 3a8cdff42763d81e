"""Images drawn again: from runs and datasets, by any id, whatever their files; and what cannot be, in one line."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image as Pillow
from typer.testing import CliRunner

from datagen import generators, recipe
from datagen.cli import app
from datagen.commands import replay as replays
from datagen.commands.replay import SIDES, Where, replay_all
from datagen.errors import InputError, ModelError, UserError
from datagen.generators import kept, replay
from datagen.generators.protocol import Request
from datagen.images import encode
from datagen.images.decode import decode
from datagen.pipeline import build
from datagen.recipe import Profile
from datagen.records import Image

EASY = ["labels.min_probability=0", "labels.min_match=0", "prompts.count=2", "profiles.embedded.steps=3"]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two prompts."""
    folder = tmp_path_factory.mktemp("runs") / "out"
    build.run(recipe.load("pick-style", EASY), "embedded", folder)
    return folder


@pytest.fixture(scope="module")
def pair(out: Path) -> dict[str, Any]:
    """The first row of its dataset."""
    first: dict[str, Any] = pq.read_table(min(out.glob("dataset/data/train-*"))).to_pylist()[0]
    return first


@pytest.fixture(scope="module")
def row(out: Path) -> Image:
    """The first row of its images."""
    return replays._read(replays.Place(out / "tables/images/images-00000.parquet", 0))


def test_every_image_of_a_run_comes_out_byte_for_byte(out: Path) -> None:
    prompts = pq.read_table(out / "tables/images/images-00000.parquet", columns=["prompt_id"])["prompt_id"]
    found = [one for prompt in prompts.unique().to_pylist() for one in replay_all(out, prompt, Where())]
    assert [row.side for row, _ in found] == ["chosen", "rejected"] * 2
    assert all(again.identical and again.before == again.now for _, again in found)


@pytest.mark.parametrize("place", ["run", "dataset of a run", "dataset", "file"])
def test_an_image_is_found_by_its_pair_and_its_prompt_and_its_own_id(
    place: str, out: Path, pair: dict[str, Any], tmp_path: Path
) -> None:
    shutil.copytree(out / "dataset", tmp_path / "published")
    path = {
        "run": out,
        "dataset of a run": out / "dataset",
        "dataset": tmp_path / "published",
        "file": min((tmp_path / "published/data").glob("train-*")),
    }[place]
    both, one, prompt = [Path(pair[side]["path"]).stem for side in SIDES], pair["pair_id"], pair["prompt_id"]
    for wanted in (one, one[:12].upper(), prompt, f" {prompt[:13]}\n"):
        assert [replays._read(found).image_id for found in replays.find(path, wanted)] == both
    for image in both:
        assert [replays._read(found).image_id for found in replays.find(path, image)] == [image]
    assert [again.identical for _, again in replay_all(path, both[0], Where())] == [True]


def test_the_command_says_how_near_it_is_and_writes_the_picture(out: Path, row: Image, tmp_path: Path) -> None:
    runner = CliRunner()
    for suffix in ("png", "webp", "PNG"):
        file = tmp_path / "new" / f"x.{suffix}"
        done = runner.invoke(app, ["replay", str(out), row.image_id, "--out", str(file)])
        assert (done.exit_code, done.stdout) == (0, f"{row.side} {row.image_id}: byte-identical\n")
        assert row.image is not None and decode(file).tobytes() == decode(row.image).tobytes()


@pytest.mark.parametrize(
    ("wanted", "out_file", "said"),
    [
        ("zz", "", "no image, pair or prompt of .* has an id that begins with 'zz'"),
        ("", "", r"\d+ ids of .* begin with '' \(.*…\): give more"),
        ("PROMPT", "x.png", "stands for 2 images and --out is one file: give the id of one"),
        ("IMAGE", "x.gif", "--out .*x.gif is no picture's name: end it in .png"),
        ("IMAGE", "x", "is no picture's name"),
    ],
)
def test_what_is_not_one_image_is_told(
    out: Path, row: Image, tmp_path: Path, wanted: str, out_file: str, said: str
) -> None:
    name = {"PROMPT": row.prompt_id, "IMAGE": row.image_id}.get(wanted, wanted)
    with pytest.raises(InputError, match=said):
        list(replay_all(out, name, Where(), tmp_path / out_file if out_file else None))


def test_a_place_without_images_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.parquet").write_text("no table")
    pq.write_table(pa.table({"caption": ["x"]}), tmp_path / "other.parquet")
    for name, said in (
        ("empty", "neither a run directory nor a dataset"),
        ("nowhere", "neither a run directory nor a dataset"),
        ("text.parquet", "not a readable Parquet file"),
        ("other.parquet", "has no column 'pair_id'"),
    ):
        with pytest.raises(InputError, match=said):
            list(replay_all(tmp_path / name, "abc", Where()))


@pytest.mark.parametrize("kind", ["webp", "png", "jpeg"])
@pytest.mark.parametrize("metadata", [False, True])
def test_files_of_every_kind_are_compared_as_such(
    row: Image, kind: str, metadata: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = recipe.load("pick-style", EASY).profile("embedded")
    assert row.image is not None
    picture = decode(row.image)
    monkeypatch.setattr(generators, "in_order", lambda generator, requests: [picture])
    same = dataclasses.replace(row, image=kept.file_of(row, picture, kind, metadata=metadata))
    assert replay.replay(same, profile, True).identical
    pixels = np.asarray(picture).copy()
    pixels[3, 4, 1] ^= 2  # by two
    near = dataclasses.replace(row, image=encode.encode(Pillow.fromarray(pixels), "png"))
    found = replay.replay(near, profile, True)
    assert (found.identical, found.largest, found.is_near) == (False, 2, True)
    assert replays.line(near, found)[0].endswith("pixels within 2/255 (0.0081 % of the values are not equal)")
    pixels[3, 4, 1] ^= 64
    far = replay.replay(dataclasses.replace(row, image=encode.encode(Pillow.fromarray(pixels), "png")), profile, True)
    assert not far.is_near and far.largest is not None and far.largest > 60
    small = replay.replay(dataclasses.replace(row, image=encode.encode(picture.resize((8, 8)), "webp")), profile, True)
    assert not small.is_near and replays.line(row, small)[0].endswith("differs: another size")
    other = encode.encode(picture, "png") + b"\0"
    assert replays.line(row, replay.replay(dataclasses.replace(row, image=other), profile, True))[0].endswith(
        "the same pixels; the bytes of the file differ"
    )


def test_versions_that_differ_are_told(row: Image) -> None:
    profile = recipe.load("pick-style", EASY).profile("embedded")
    found = replay.replay(dataclasses.replace(row, software="diffusers 0.1 on cpu"), profile, True)
    assert found.identical
    assert replays.line(row, found)[1:] == ["  drawn with diffusers 0.1 on cpu", f"  here       {row.software}"]


def written(row: dict[str, Any], folder: Path, **changes: Any) -> Path:
    """A dataset of one row that was changed."""
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist([{**row, **changes}]), folder / "train-00000-of-00001.parquet")
    return folder


def test_another_seed_is_another_picture_and_exit_code_1(pair: dict[str, Any], tmp_path: Path) -> None:
    folder = written(pair, tmp_path / "d", seed_chosen=pair["seed_chosen"] + 1)
    done = CliRunner().invoke(app, ["replay", str(folder), pair["pair_id"]])
    first, second = done.stdout.splitlines()
    assert done.exit_code == 1
    assert re.fullmatch(r"chosen \w+: differs: by up to \d+/255 \(\d\S* % of the values are not equal\)", first)
    assert re.fullmatch(r"rejected \w+: byte-identical", second)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"chosen_prompt": "a nude child"}, "is not drawn: refused: sexual content involving minors"),
        ({"chosen_negative_prompt": "x" * 20_000}, "is not drawn: .*characters"),
        ({"seed_chosen": -1}, "says seed -1"),
        ({"guidance": float("nan")}, "guidance nan"),
        ({"steps": 10**9}, "1000000000 steps"),
        ({"steps": 0}, " 0 steps"),
        ({"batch_size": 10**9}, "batches of 1000000000"),
        ({"width": 60_000}, "60000×64 pixels"),
        ({"scheduler": "UNet2DConditionModel"}, "names the scheduler 'UNet2DConditionModel', which diffusers has not"),
        ({"scheduler": "__import__('os')"}, "which diffusers has not"),
        ({"scheduler": "PNDMSchedule"}, "which diffusers has not"),
        ({"scheduler_config": "[]"}, "settings of its scheduler that are not a JSON object"),
        ({"scheduler_config": "{"}, "settings of its scheduler that are not a JSON object"),
        ({"scheduler_config": '{"num_train_timesteps": "many"}'}, "embedded with the settings of"),
        (
            {"generator_revision": "0" * 16},
            "by embedded at 0{16}, and here is embedded at .*: --model names",
        ),
        ({"generator": "no/such-model"}, "no/such-model"),
        ({"generator": "nothing here"}, "there is no folder nothing here"),
        ({"options": "[]"}, "holds options that are not a JSON object"),
        ({"options": '{"long_prompts": "all"}'}, "says long_prompts = 'all' in its options: "),
        ({"options": '{"guidance_rescale": "0.5"}'}, "says guidance_rescale = '0.5' in its options: "),
        ({"options": '{"sharpened": 3}'}, "its sampling was .'sharpened': 3., and here is"),
        ({"dtype": "float8"}, "its precision was float8, and here is float32"),
        ({"vae": "my-vae@abc"}, "my-vae"),
        ({"adapter": "lora@abc"}, "with the adapter lora@abc: replay it from its run"),
        ({"scheduler": "", "software": "endpoint images.example"}, "a server that promises no picture twice"),
        ({"steps": "many"}, "is none of ours"),
        ({"seed_chosen": None}, "has no seed: its image cannot be drawn again"),
        ({"chosen": {"bytes": None, "path": "abc.webp"}}, "there is no image abc"),
        ({"chosen": {"bytes": b"RIFFxxxxWEBP", "path": "abc.webp"}}, "the image abc cannot be read"),
    ],
)
def test_rows_that_cannot_be_drawn_again_are_one_line(
    pair: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], said: str
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = written(pair, tmp_path / "d", **changes)
    with pytest.raises(UserError, match=said) as refused:
        list(replay_all(folder, pair["pair_id"], Where()))
    assert refused.value.exit_code == 2 and "\n" not in str(refused.value)


def test_a_dataset_of_before_there_were_options_is_drawn_again(pair: dict[str, Any], tmp_path: Path) -> None:
    folder = written({name: value for name, value in pair.items() if "options" not in name}, tmp_path / "d")
    assert [found.identical for _, found in replay_all(folder, pair["pair_id"], Where())] == [True, True]


@pytest.mark.parametrize("column", ["scheduler_config", "seed_chosen", "batch_size"])
def test_a_dataset_without_what_drawing_takes_is_told(pair: dict[str, Any], tmp_path: Path, column: str) -> None:
    folder = written({name: value for name, value in pair.items() if name != column}, tmp_path / "d")
    with pytest.raises(InputError, match=f"has no column '{column}': its images cannot be drawn again"):
        list(replay_all(folder, pair["pair_id"], Where()))


@pytest.mark.parametrize(
    ("family", "scheduler", "precision", "negative", "options"),
    [
        ("sd15", "dpm++", "fp32", "blur", {}),
        ("sd15", "model", "bf16", "", {"guidance_rescale": 0.7}),
        ("sdxl", "euler", "fp32", "", {"long_prompts": "windows"}),
        ("sdxl", "ddim", "bf16", "a dog", {}),
    ],
)
def test_a_row_alone_says_scheduler_precision_batch_and_options(
    family: str,
    scheduler: str,
    precision: str,
    negative: str,
    options: dict[str, Any],
    request: pytest.FixtureRequest,
) -> None:
    folder: Path = request.getfixturevalue(f"{family}_folder")
    drawn_by = Profile.model_construct(model=str(folder), scheduler=scheduler, precision=precision, **options)
    generator = generators.load(drawn_by)
    asked = Request("a chef in a park, " * 20, negative, 11, 3, 5.0, 64, 96, batch_size=3)
    (picture,) = generators.in_order(generator, [asked])
    assert isinstance(picture, Pillow.Image)
    means = dataclasses.asdict(generator.means(asked))
    row = Image(
        "i", "p", "chosen", 0, asked.text, negative, 11, generator.name, generator.revision, **means, steps=3,
        guidance=5.0, width=64, height=96, image=encode.encode(picture, "webp"),
    )  # fmt: skip
    assert row.batch_size == 3 and json.loads(row.options) == options
    # Whoever has only the row knows neither what the recipe calls its scheduler nor how precise it was.
    found = replay.replay(row, Profile.model_construct(model=str(folder)))
    assert found.identical
    assert replay.replay(row, drawn_by, True).identical
    changed = json.dumps({**json.loads(row.scheduler_config), "beta_end": 0.02})
    other = replay.replay(
        dataclasses.replace(row, scheduler_config=changed), Profile.model_construct(model=str(folder))
    )
    assert not other.identical


def test_a_generator_that_draws_no_picture_twice_is_refused(row: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    class Server:
        name, revision, draws_again = "endpoint:x", "", False

    monkeypatch.setattr(generators, "load", lambda choice: Server())
    profile = Profile.model_construct(model="endpoint:x")
    with pytest.raises(ModelError, match="was drawn by endpoint:x, which promises no picture twice"):
        replay.replay(dataclasses.replace(row, generator="endpoint:x", scheduler=""), profile, True)
