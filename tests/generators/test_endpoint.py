"""Pictures from a server: what is sent and learnt, what the rows say, what bad servers give, links, money."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from PIL import Image as Pillow
from rich.console import Console

from datagen import generators, store
from datagen import recipe as recipes
from datagen.commands import doctor, estimate
from datagen.errors import BudgetSpent, DatagenError, EndpointError, ModelError, NoAnswers, UserError
from datagen.generators import endpoint
from datagen.generators.protocol import ContentError, Means, Request
from datagen.llm import LEDGER, LlmOptions
from datagen.llm.accounts.money import totals
from datagen.pipeline import build
from datagen.records import Image
from tests.support.picture_stub import Stub, serving

EVERYTHING = "the server was told negative prompt, steps, guidance, and nothing shows whether it heeds them"


def requests(count: int = 3, side: int = 64, negative: str = "blurry") -> list[Request]:
    return [Request(f"a red box {index}", negative, 2**40 + index, 20, 3.0, side, side) for index in range(count)]


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A cache of the test's own, and no key."""
    monkeypatch.setenv("DATAGEN_CACHE", str(tmp_path / "cache"))
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "DATAGEN_IMAGES_MODEL", "DATAGEN_IMAGES_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DATAGEN_IMAGES_PATIENCE", "0.5")
    yield


def drawn(
    stub: Stub, monkeypatch: pytest.MonkeyPatch, folder: Path, wanted: list[Request], model: str = "flat",
    max_cost: float | None = None,
) -> list[tuple[Pillow.Image | ContentError, Means]]:  # fmt: skip
    """What a server makes of requests, in order, as a run would ask it."""
    monkeypatch.setenv("DATAGEN_IMAGES_BASE_URL", stub.url)
    generator = endpoint.load(model, "", "model")
    made = {
        place: (result, generator.means(request))
        for place, request, result in generators.draw(generator, wanted, LlmOptions(folder, max_cost))
    }
    return [made[place] for place in range(len(wanted))]


def test_pictures_come_in_place_and_are_bought_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as stub:
        first = drawn(stub, monkeypatch, tmp_path, requests(40))
        assert stub.counts["sold"] == 42  # two of one seed, to see whether they are equal
        again = drawn(stub, monkeypatch, tmp_path / "another run", requests(40))
        assert stub.counts["sold"] == 42
    assert [picture.tobytes() for picture, _ in first] == [picture.tobytes() for picture, _ in again]  # type: ignore[union-attr]
    assert [means for _, means in first] == [means for _, means in again]
    assert {means.notes for _, means in first} == {EVERYTHING} and first[0][1].software == "endpoint, PNG"
    sent = next(body for body in stub.asked if body["prompt"] == "a red box 5")
    assert sent == {
        "model": "flat", "prompt": "a red box 5", "n": 1, "size": "64x64", "seed": 2**40 + 5,
        "negative_prompt": "blurry", "num_inference_steps": 20, "guidance_scale": 3.0, "response_format": "b64_json",
        "output_format": "png",
    }  # fmt: skip
    spent = totals(tmp_path / LEDGER)
    assert (spent["images"].calls, spent["probe"].calls, spent["images"].cost) == (40, 2, 0.0)
    assert totals(tmp_path / "another run" / LEDGER)["images"].cached == 40


@pytest.mark.parametrize(
    ("takes", "told", "note"),
    [
        ((), {}, "the server takes no size, seed, negative prompt, steps, guidance"),
        (("size", "response_format"), {"size": "64x64"}, "the server takes no seed, negative prompt, steps, guidance"),
        (("width", "height", "steps", "seed"), {"width": 64, "height": 64, "steps": 20, "seed": 2**40},
         "the server takes no negative prompt, guidance; the server was told steps"),
        (("size", "cfg_scale"), {"cfg_scale": 3.0}, "takes no seed, negative prompt, steps; the server was told guid"),
    ],
)  # fmt: skip
def test_what_a_server_rejects_is_put_otherwise_or_left_out_and_said(
    takes: tuple[str, ...], told: dict[str, Any], note: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(takes=takes) as stub:
        made = drawn(stub, monkeypatch, tmp_path, requests(20))
        assert all(isinstance(picture, Pillow.Image) for picture, _ in made)
        assert all(note in means.notes for _, means in made), made[0][1].notes
        last = next(body for body in reversed(stub.asked) if body["prompt"] == "a red box 0")
        assert told.items() <= last.items() and last.keys() <= {"model", "prompt", "n", *takes}


def test_a_seed_that_gives_another_picture_each_time_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(seeds=False) as stub:
        assert all(endpoint.FICKLE in means.notes for _, means in drawn(stub, monkeypatch, tmp_path, requests()))


def test_openais_own_models_are_not_asked_for_what_they_do_not_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(takes=("size", "output_format", "quality")) as stub:
        made = drawn(stub, monkeypatch, tmp_path, requests(5), "gpt-image-1?quality=low")
        assert len(stub.asked) == stub.counts["sold"] == 5 and stub.asked[0]["quality"] == "low"
    assert {means.notes for _, means in made} == {"the server takes no seed, negative prompt, steps, guidance"}


@pytest.mark.parametrize("form", ["JPEG", "WEBP"])
def test_the_row_says_what_the_server_gave(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(form=form, side=96, count=3) as stub:
        ((picture, means), *_) = drawn(stub, monkeypatch, tmp_path, requests())
    assert isinstance(picture, Pillow.Image) and picture.size == (96, 96)
    assert "drawn in 96x96 pixels where 64x64 was asked for" in means.notes
    assert "2 more came than the one" in means.notes and means.software.casefold() == f"endpoint, {form}".casefold()


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("flat?style=vivid", "Unknown parameter: 'style'.): change or leave out style=… in the model's name"),
        ("flat?size=7x7", "change or leave out size=… in the model's name"),
        ("flat", "set the profile's width and height, or add size=… to the model's name"),
    ],
)  # fmt: skip
def test_what_the_user_must_choose_otherwise_ends_the_run(
    model: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(sizes=("512x512",)) as stub, pytest.raises(EndpointError) as error:
        drawn(stub, monkeypatch, tmp_path, requests(20), model)
    assert words in str(error.value) and "\n" not in str(error.value) and error.value.exit_code == 2


def test_a_refusal_is_the_row_of_one_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(refuses="box 1") as stub:
        made = drawn(stub, monkeypatch, tmp_path, requests(4))
    errors = [str(result) if isinstance(result, ContentError) else "" for result, _ in made]
    assert errors[1].startswith("refused: ") and "safety system" in errors[1] and errors.count("") == 3


def _text(body: str, kind: str = "application/json", status: int = 200) -> Any:
    return lambda asked: web.Response(text=body, content_type=kind, status=status)


def _data(**entry: Any) -> Any:
    return _text(json.dumps({"data": [entry]}))


def _picture(form: str = "PNG", colour: str = "red") -> bytes:
    file = io.BytesIO()
    Pillow.new("RGB", (8, 8), colour).save(file, form)
    return file.getvalue()


BAD: dict[str, tuple[Any, str]] = {
    "a page for JSON": (_text("<html>hello</html>", "text/html"), "web page"),
    "no JSON": (_text("hello"), "not JSON"),
    "a chat completion": (_text('{"choices": []}'), "not with an image generation"),
    "a list": (_text("[1]"), "not with an image generation"),
    "no entries": (_text('{"data": []}'), "list of data is empty"),
    "an entry of nothing": (_data(), "without a picture"),
    "null": (_data(b64_json=None, url=None), "without a picture"),
    "a number": (_data(b64_json=7), "without a picture"),
    "no base64": (_data(b64_json="!!!"), "no base64"),
    "base64 of a text": (_data(b64_json=base64.b64encode(b"hello").decode()), "cannot be used"),
    "half a picture": (_data(b64_json=base64.b64encode(_picture()[:60]).decode()), "cannot be used"),
    "a dead link": (_data(url="/pictures/gone"), "HTTP 404"),
    "a file": (_data(url="file:///etc/passwd"), "no http"),
    "a link inwards": (_data(url="http://169.254.169.254/latest/meta-data"), "no business"),
    "a private link": (_data(url="http://10.1.2.3/x.png"), "no business"),
    "an odd link": (_data(url="http://[oops"), "no http"),
    "an error under 200": (_text('{"error": {"message": "out of paint"}}'), "out of paint"),
    "a loop": (lambda asked: web.Response(status=302, headers={"Location": "/v1/images/generations"}), "redirect"),
    "a wrong path": (_text('{"detail": "Not Found"}', status=404), "check DATAGEN_IMAGES_MODEL"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_server_is_one_line(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer, words = BAD[name]
    with serving() as stub:
        stub.answer = answer
        try:
            said = [str(result) for result, _ in drawn(stub, monkeypatch, tmp_path, requests())]
        except EndpointError as error:
            said = [str(error)]
    assert all(words in line and "\n" not in line and "LLM" not in line for line in said), said


def test_what_came_broken_is_tried_again_by_the_next_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as stub:
        stub.answer = lambda body: _data(b64_json="!!!")(body) if "box 1" in body["prompt"] else None
        made = drawn(stub, monkeypatch, tmp_path, requests())
        assert [isinstance(result, ContentError) for result, _ in made] == [False, True, False]
        stub.answer = lambda body: None
        assert not [
            result for result, _ in drawn(stub, monkeypatch, tmp_path, requests()) if isinstance(result, Exception)
        ]


def test_a_deleted_or_damaged_picture_is_bought_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as stub:
        drawn(stub, monkeypatch, tmp_path, requests(6))
        files = [file for file in (tmp_path / "cache" / "pictures").rglob("*") if file.is_file()]
        before = stub.counts["sold"]
        files[0].unlink()
        files[1].write_bytes(files[1].read_bytes()[:-1])
        made = drawn(stub, monkeypatch, tmp_path, requests(6))
        assert not [result for result, _ in made if isinstance(result, ContentError)]
        assert before + 2 <= stub.counts["sold"] <= before + 3  # both of the test pictures have one file
        drawn(stub, monkeypatch, tmp_path, requests(6))
        assert stub.counts["sold"] <= before + 3


@pytest.mark.parametrize("link", ["{base}/pictures/{name}", "/pictures/{name}"])
def test_the_key_goes_to_the_server_alone(link: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAGEN_IMAGES_API_KEY", "sk-secret")
    with serving(link=link, key="sk-secret") as stub, serving() as other:
        drawn(stub, monkeypatch, tmp_path, requests(2))
        assert {key for _, key in stub.fetched} == {"Bearer sk-secret"}
        picture = _picture()
        other._pictures["x"] = picture
        stub.answer = _data(url=f"{other.url.removesuffix('/v1')}/pictures/x")
        ((made, _),) = drawn(stub, monkeypatch, tmp_path, [Request("elsewhere", "", 1, 1, 1.0, 8, 8)])
        assert isinstance(made, Pillow.Image) and set(other.fetched) == {("/pictures/x", "")}
        assert b"sk-secret" not in b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
        stub.manners.key = "sk-other"
        with pytest.raises(EndpointError, match="check OPENAI_API_KEY or DATAGEN_IMAGES_API_KEY"):
            drawn(stub, monkeypatch, tmp_path, [Request("new", "", 1, 1, 1.0, 8, 8)])


def test_a_data_link_is_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as stub:
        stub.answer = _data(url=f"data:image/png;base64,{base64.b64encode(_picture()).decode()}")
        ((made, _),) = drawn(stub, monkeypatch, tmp_path, requests(1, 8))
        assert isinstance(made, Pillow.Image) and made.getpixel((0, 0)) == (255, 0, 0)
        stub.answer = _data(b64_json=base64.b64encode(_picture(colour="black")).decode())
        ((made, _),) = drawn(stub, monkeypatch, tmp_path, [Request("dark", "", 1, 1, 1.0, 8, 8)])
        assert str(made).startswith("refused: the server gave an all black picture")


def test_the_budget_is_never_exceeded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text('[models."flat"]\npicture = 0.04\n')
    monkeypatch.setenv("DATAGEN_PRICES", str(prices))
    with serving(drop=0.1, busy=0.1) as stub:
        with pytest.raises(BudgetSpent):
            drawn(stub, monkeypatch, tmp_path, requests(60), max_cost=0.5)
        billed = stub.counts["sold"] + stub.counts["drop"]
        assert 6 <= billed <= 12  # 0.5 dollars
        spent = totals(tmp_path / LEDGER)
        assert sum(part.cost + part.at_most for part in spent.values()) <= 0.5 + 1e-9


def test_tokens_are_billed_where_they_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text('[models."flat"]\ninput = 5\noutput = 40\npicture = 0.3\n')
    monkeypatch.setenv("DATAGEN_PRICES", str(prices))
    with serving(usage={"input_tokens": 100, "output_tokens": 4000, "total_tokens": 4100}, takes=()) as stub:
        drawn(stub, monkeypatch, tmp_path, requests(2), max_cost=2.0)
        assert totals(tmp_path / LEDGER)["images"].cost == pytest.approx(2 * (100 * 5 + 4000 * 40) / 1e6)
        stub.manners.usage = None
        drawn(stub, monkeypatch, tmp_path, [Request("untold", "", 1, 1, 1.0, 64, 64)], max_cost=2.0)
        assert totals(tmp_path / LEDGER)["images"].at_most == pytest.approx(0.3, abs=0.02)


def test_a_budget_wants_the_price_of_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAGEN_IMAGES_BASE_URL", "http://images.example/v1")
    monkeypatch.setenv("DATAGEN_IMAGES_API_KEY", "k")
    for model in ("nameless", "gpt-4o"):
        with pytest.raises(UserError, match="what a picture by .* costs.*DATAGEN_PRICES"):
            list(generators.draw(endpoint.load(model, "", "model"), requests(1), LlmOptions(tmp_path, 1.0)))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("flat?", "'' is no parameter"), ("flat?a", "'a' is no parameter"), ("flat?=1", "is no parameter"),
        ("flat?a=1&a=2", "is no parameter"), ("flat?a b=1", "is no parameter"), ("flat?seed=3", "seed may not stand"),
        ("flat?n=4", "n may not stand"), ("flat?prompt=x", "prompt may not stand"),
    ],
)  # fmt: skip
def test_a_name_that_cannot_be_read_is_refused(model: str, words: str) -> None:
    missing = generators.missing(f"endpoint:{model}")
    assert missing is not None and words in missing.reason and not missing.downloadable
    with pytest.raises(ModelError, match="endpoint:"):
        endpoint.load(model, "", "model")


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"DATAGEN_IMAGES_BASE_URL": "http://images.example/v1"}, "set OPENAI_API_KEY or DATAGEN_IMAGES_API_KEY"),
        ({"DATAGEN_IMAGES_BASE_URL": "mock:"}, "draws nothing"),
        ({"DATAGEN_IMAGES_BASE_URL": "images.example"}, "DATAGEN_IMAGES_BASE_URL (or OPENAI_BASE_URL) is not"),
        ({"DATAGEN_IMAGES_BASE_URL": "http://127.0.0.1/v1", "DATAGEN_IMAGES_TIMEOUT": "soon"}, "TIMEOUT is 'so"),
    ],
)  # fmt: skip
def test_without_a_server_or_a_key_the_variable_is_named(
    variables: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    missing = generators.missing("endpoint:flat")
    assert missing is not None and words in missing.reason
    monkeypatch.setenv("DATAGEN_IMAGES_BASE_URL", "http://127.0.0.1/v1")
    monkeypatch.delenv("DATAGEN_IMAGES_TIMEOUT", raising=False)
    assert generators.missing("endpoint:flat") is None
    assert "no model is named" in str(generators.missing("endpoint:"))


def test_nobody_at_the_address_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as stub:
        pass
    with pytest.raises(NoAnswers, match="DATAGEN_IMAGES_BASE_URL"):
        drawn(stub, monkeypatch, tmp_path, requests())


def test_what_the_profile_sets_for_models_of_this_machine_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAGEN_IMAGES_BASE_URL", "http://127.0.0.1/v1")
    monkeypatch.setenv("DATAGEN_IMAGES_MODEL", "from-the-environment")
    assert endpoint.load("", "", "model").name == "endpoint:from-the-environment"
    for name in ("a/b", 'a/b?quality=low&loras=[1]&x="3"', "a?text=one%26two"):
        assert endpoint.load(name, "", "model").name == f"endpoint:{name}"
    with pytest.raises(DatagenError, match="revision"):
        endpoint.load("flat", "main", "model")
    assert endpoint.load("flat", "", "euler", precision="fp16").draws_again is False


RECIPE = """
name = "mixed"
license = "cc0-1.0"
pairing = "rank"
[prompts]
count = 3
test_share = 0.0
[images]
candidates = 4
[profiles.embedded]
model = "embedded"
other_models = ["endpoint:flat"]
taxonomy = "world-hazards"
principles = ["no-splatter"]
grammar = "world-ruins"
scheduler = "ddim"
steps = 2
guidance = 3.0
width = 64
height = 64
judges = ["world"]
"""


def test_candidates_of_one_prompt_come_from_both_and_each_row_says_from_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mixed.toml").write_text(RECIPE)
    recipe = recipes.load(str(tmp_path / "mixed.toml"), [])
    with serving(busy=0.2, takes=("size", "seed", "response_format"), refuses="zzz") as stub:
        monkeypatch.setenv("DATAGEN_IMAGES_BASE_URL", stub.url)
        took = estimate.estimate(recipe, "embedded")
        assert (took.stages["images endpoint:flat"].calls, took.cost, took.gpu_hours, took.images) == (6, 0.0, 0.0, 12)
        summary = build.run(recipe, "embedded", tmp_path / "run")
        assert stub.counts["sold"] == 6 + 2
        assert build.run(recipe, "embedded", tmp_path / "run").made == 0
    rows = store.Run(tmp_path / "run").rows("images", 0, Image)
    assert [row.generator for row in rows] == ["embedded", "endpoint:flat"] * 6 and summary.rows("images") == 12
    own = [row for row in rows if row.generator == "endpoint:flat"]
    assert all(row.notes.startswith("the server takes no steps, guidance") for row in own)
    assert all("the server's own scheduler" in row.notes and row.scheduler == "" for row in own)
    assert all(row.software.startswith("endpoint, PNG") and (row.width, row.height) == (64, 64) for row in own)
    assert "6 of 12 images: the server's own scheduler" in summary.losses()


def test_an_estimate_says_what_pictures_cost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAGEN_IMAGES_BASE_URL", "https://images.example/v1")
    (tmp_path / "mixed.toml").write_text(RECIPE)
    for model, dollars in (
        ("gpt-image-1?quality=low&size=1024x1024", 6 * (0.01088 + 5 * 1056e-6)),
        ("nameless", None),
    ):
        recipe = recipes.load(str(tmp_path / "mixed.toml"), [f'profiles.embedded.other_models=["endpoint:{model}"]'])
        took = estimate.estimate(recipe, "embedded")
        assert took.cost == (dollars if dollars is None else pytest.approx(dollars))
        console = Console(file=io.StringIO(), width=200)
        estimate.show(recipe, "embedded", console)
        shown = console.file.getvalue()  # type: ignore[attr-defined]
        assert ("has no price: set DATAGEN_PRICES" in shown) == (dollars is None) and "GPU" in shown


def test_the_doctor_says_which_server_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "none that can be asked" in doctor.images()
    with serving() as stub:
        monkeypatch.setenv("DATAGEN_IMAGES_BASE_URL", stub.url)
        monkeypatch.setenv("DATAGEN_IMAGES_MODEL", "flat")
        assert doctor.images() == f"flat at {stub.url}: answers and has the model; up to $0.0000 a picture"
        assert stub.asked == []
