"""The estimate: it counts the writer's own requests, prices them, and says what it does not know."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from datagen import generators, models
from datagen import recipe as recipes
from datagen.cli import app
from datagen.commands import doctor
from datagen.commands import estimate as estimates
from datagen.errors import RecipeError
from datagen.generators.protocol import Means, Request
from datagen.recipe import Recipe
from datagen.writers.rehearsal import plan_calls

LLM = 'profiles.sd15.writer="llm"'


NONE = "labels.controls=0"


def load(*settings: str) -> Recipe:
    return recipes.load("pick-style", [LLM, "prompts.count=40", NONE, *settings])


@pytest.fixture(autouse=True)
def priced(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATAGEN_LLM_BASE_URL", "OPENAI_BASE_URL", "DATAGEN_PRICES", "OPENAI_API_KEY", "DATAGEN_LLM_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DATAGEN_LLM_MODEL", "gpt-4.1-mini")
    monkeypatch.setattr(doctor, "gpu", lambda: ("NVIDIA H100 80GB HBM3", 80.0))  # looking imports torch


def shown(recipe: Recipe, profile: str = "sd15", *, batch: bool = False) -> str:
    text = io.StringIO()
    estimates.show(recipe, profile, Console(file=text, width=160), batch=batch)
    return text.getvalue()


def test_it_counts_what_the_writer_would_ask() -> None:
    recipe = load()
    calls = plan_calls(recipe, recipe.profile("sd15"))
    took = estimates.estimate(recipe, "sd15")
    assert took.stages["prompts"].calls == len(calls) > 40
    assert took.calls == len(calls) + 1  # the probe
    characters = sum(len(message.text) for call in calls for message in call.request.messages)
    assert characters / 6 < took.input_tokens < characters / 2
    assert took.cost == pytest.approx((took.input_tokens * 0.4 + took.output_tokens * 1.6) / 1e6)


def test_it_grows_with_the_recipe() -> None:
    small, large = estimates.estimate(load(), "sd15"), estimates.estimate(load("prompts.count=400"), "sd15")
    assert 7 < large.calls / small.calls < 11 and large.images == 10 * small.images
    assert large.gpu_hours == pytest.approx(10 * small.gpu_hours)


def test_the_batch_api_is_half_and_probes_nothing() -> None:
    live, batch = estimates.estimate(load(), "sd15"), estimates.estimate(load(), "sd15", batch=True)
    assert batch.stages["prompts"].cost == pytest.approx((live.stages["prompts"].cost or 0) / 2)
    assert "probe" not in batch.stages


def test_a_grammar_costs_nothing() -> None:
    took = estimates.estimate(recipes.load("pick-style", []), "embedded")
    assert (took.calls, took.cost, took.model, took.gpu_hours, took.stages) == (0, 0.0, "", 0.0, {})
    assert took.images > 0 and took.disk_bytes > 0
    assert "no LLM calls, no cost" in shown(recipes.load("pick-style", []), "embedded")


def test_a_server_on_this_machine_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAGEN_LLM_BASE_URL", "http://127.0.0.1:8000/v1")
    monkeypatch.setenv("DATAGEN_LLM_MODEL", "anything")
    assert estimates.estimate(load(), "sd15").cost == 0
    monkeypatch.setenv("DATAGEN_LLM_BASE_URL", "local:/models/small.gguf")
    monkeypatch.delenv("DATAGEN_LLM_MODEL")
    took = estimates.estimate(load(), "sd15")
    assert (took.cost, took.model) == (0, "small")


def test_a_model_without_a_price_is_said_so_and_not_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAGEN_LLM_MODEL", "nobodys-model")
    assert estimates.estimate(load(), "sd15").cost is None
    assert "'nobodys-model' has no price: set DATAGEN_PRICES" in shown(load())
    monkeypatch.delenv("DATAGEN_LLM_MODEL")
    assert "no model is named (DATAGEN_LLM_MODEL)" in shown(load())
    assert '[models."NAME"]' in shown(load())


def test_the_users_prices_hold(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "prices.toml").write_text('[models."gpt-4.1-mini"]\ninput = 4\noutput = 16\n')
    cheap = estimates.estimate(load(), "sd15").cost or 0
    monkeypatch.setenv("DATAGEN_PRICES", str(tmp_path / "prices.toml"))
    assert estimates.estimate(load(), "sd15").cost == pytest.approx(10 * cheap)


def test_gpu_hours_follow_images_steps_and_device() -> None:
    recipe = load()
    seconds = models.table()[recipe.profile("sd15").model].seconds["A100"] * recipe.profile("sd15").steps / 30
    assert estimates.estimate(recipe, "sd15").gpu_hours == pytest.approx(80 * seconds / 3600)
    fast = estimates.estimate(recipe, "sd15", device="H100")
    assert fast.device == "H100" and fast.gpu_hours < estimates.estimate(recipe, "sd15").gpu_hours
    big = estimates.estimate(load('profiles.sdxl.writer="offline"'), "sdxl")
    assert big.gpu_hours > 3 * fast.gpu_hours


def test_candidates_of_several_models_take_their_average() -> None:
    recipe = load()
    slow = recipe.profile("sd15").model_copy(update={"other_models": ("Lykon/dreamshaper-xl-1-0",)})
    both = recipe.model_copy(update={"profiles": {"sd15": slow}})
    quick, heavy = (models.table()[name] for name in (slow.model, slow.other_models[0]))
    each = (quick.seconds["A100"] + heavy.seconds["A100"] / 4) / 2 * slow.steps / 30
    assert estimates.estimate(both, "sd15").gpu_hours == pytest.approx(80 * each / 3600)


def test_hours_of_a_model_that_nobody_timed_are_said_to_be_unknown() -> None:
    recipe = load("profiles.sd15.model=nobody/has-this")
    assert estimates.estimate(recipe, "sd15").gpu_hours is None
    assert "80 images, GPU hours not known: prompts/models.toml has no seconds of nobody/has-this" in shown(recipe)


def test_a_folder_takes_what_the_model_does_that_it_is_like(sd15_folder: Path) -> None:
    recipe = load(f"profiles.sd15.model='{sd15_folder}'")
    assert "80 images, no GPU needed (as embedded)" in shown(recipe)


def test_images_are_counted_as_the_pairing_makes_them() -> None:
    def images(name: str, *settings: str) -> int:
        return estimates.estimate(recipes.load(name, ["prompts.count=10", *settings]), "embedded").images

    assert images("pick-style", "images.candidates=3") == 60
    assert images("open-preferences") == 40
    assert images("livo-debias", "images.aligned=2", "images.violating=3") == 50


def test_what_is_shown() -> None:
    text = shown(load())
    assert "gpt-4.1-mini, from nothing: replies in the cache cost nothing" in text
    assert "80 images" in text and "GPU hours on one H100" in text and "MB of disk" in text
    assert "$" in text and "prompts" in text and "together" in text
    assert "through the Batch API" in shown(load(), batch=True)


def test_the_most_that_a_model_that_thinks_can_cost_is_said() -> None:
    took, roomy = estimates.estimate(load(), "sd15"), estimates.estimate(load("llm.max_tokens=8000"), "sd15")
    asked = sum(part.input_tokens for part in took.stages.values())
    most = (asked * 0.4 + ((took.calls - 1) * 2048 + estimates.PROBE[1]) * 1.6) / 1e6
    assert took.most == pytest.approx(most) and (took.cost or 0) < most < (roomy.most or 0)
    assert f"a model that thinks is billed for its thoughts, up to ${most:,.4f}" in shown(load())


def test_a_limit_is_that_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["estimate", "pick-style", "--profile", "sd15", "--set", LLM]
    few = CliRunner().invoke(app, [*arguments, "--limit", "10"])
    assert few.exit_code == 0 and "20 images" in few.stdout
    assert few.stdout == CliRunner().invoke(app, [*arguments, "--set", "prompts.count=10"]).stdout


def test_an_unknown_profile_is_the_users_error() -> None:
    recipe = recipes.load("pick-style", [])
    with pytest.raises(RecipeError, match="no profile 'sd3'"):
        estimates.estimate(recipe, "sd3")


def test_judges_that_ask_a_server_are_counted_by_image_text_and_order() -> None:
    asked = [
        "profiles.sd15.writer='offline'",
        "profiles.sd15.taxonomy='world-styles'",
        "profiles.sd15.grammar='world'",
    ]
    judges = "profiles.sd15.judges={endpoint_yesno = {side = 448}, endpoint_pairwise = {detail = 'low'}, clip = {}}"
    took = estimates.estimate(recipes.load("pick-style", [*asked, "prompts.count=40", judges]), "sd15")
    yes, two = took.stages["judge endpoint_yesno"], took.stages["judge endpoint_pairwise"]
    assert took.images == 80
    assert (yes.calls, two.calls) == (80 * (3 + 1), 2 * 40)  # three texts and the question; both orders
    assert yes.input_tokens == yes.calls * (estimates.JUDGE_TEXT + 16 * 16)
    assert two.input_tokens == two.calls * (estimates.JUDGE_TEXT + 2 * 85)
    assert took.calls == yes.calls + two.calls
    assert took.cost == pytest.approx((took.input_tokens * 0.4 + took.output_tokens * 1.6) / 1e6)


def test_a_fallback_is_priced_apart_from_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = estimates.estimate(load(), "sd15")
    assert plain.fallback == "" and "fallback" not in shown(load())
    monkeypatch.setenv("DATAGEN_LLM_FALLBACK_MODEL", "gpt-4.1")  # five times the first's prices
    took = estimates.estimate(load(), "sd15")
    assert (took.cost, took.most, took.calls) == (plain.cost, plain.most, plain.calls)
    assert took.fallback == "gpt-4.1" and took.by_fallback == pytest.approx(5 * (plain.cost or 0))
    assert f"the fallback model gpt-4.1 is not counted: up to ${took.by_fallback:,.4f} more" in shown(load())
    assert "not asked through the Batch API: leave out --batch" in shown(load(), batch=True)
    assert "fallback" not in shown(load(), "embedded")  # nothing is written there
    monkeypatch.setenv("DATAGEN_LLM_FALLBACK_MODEL", "of-nobody")
    assert "the fallback model of-nobody is not counted and has no price" in shown(load())
    monkeypatch.setenv("DATAGEN_LLM_FALLBACK_BASE_URL", "http://127.0.0.1:8000/v1")
    assert estimates.estimate(load(), "sd15").by_fallback == 0.0


@pytest.mark.parametrize("address", ["mock:", "local:/models/small.gguf"])
def test_a_fallback_on_this_machine_has_a_name_and_costs_nothing(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATAGEN_LLM_FALLBACK_MODEL", raising=False)
    monkeypatch.setenv("DATAGEN_LLM_FALLBACK_BASE_URL", address)
    took = estimates.estimate(load(), "sd15")
    assert took.fallback == {"mock:": "mock"}.get(address, "small") and took.by_fallback == 0.0


class Clock:
    """Time that passes by what is drawn: a second a batch, and a tenth for each of its steps."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("steps", "seconds"), [(1, (1 + 0.1) / 4), (2, (1 + 0.2) / 4), (4, (1 + 0.4) / 4), (30, (1 + 3.0) / 4)]
)
def test_a_probe_draws_few_steps_and_carries_them_on(
    steps: int, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, drawn = Clock(), list[int]()

    class Generator:
        name, revision = "g", "1"

        def means(self, request: Request) -> Means:
            return Means(batch_size=4)

        def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Any]]:
            clock.now += 1 + 0.1 * requests[0].steps
            drawn.append(requests[0].steps)
            yield from ((place, "picture") for place in range(len(requests)))

    monkeypatch.setattr(generators, "time", clock)
    monkeypatch.setattr(generators, "load", lambda choice: Generator())
    recipe = load(f"profiles.sd15.steps={steps}")
    assert generators.probe(recipe.profile("sd15")) == pytest.approx(seconds)
    assert max(drawn) <= 5
    text = io.StringIO()
    estimates.show(recipe, "sd15", Console(file=text, width=160), probe=True)
    images = 2 * 40
    assert f"probe: {seconds:.3g} s an image in one process here, {images * seconds:.0f} seconds" in text.getvalue()


def test_a_generator_of_its_own_is_not_probed() -> None:
    profile = load('profiles.sd15.model="endpoint:gpt-image"').profile("sd15")
    assert estimates._probed(profile, 10) == "not probed: who draws endpoint:gpt-image may want to be paid for it"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.4, "0 seconds"), (119, "119 seconds"), (120, "2.0 minutes"), (7300, "2.0 hours"), (3e5, "3.5 days")],
)
def test_a_time_is_said_in_the_unit_that_suits_it(seconds: float, said: str) -> None:
    assert estimates._time(seconds) == said


def test_questions_are_counted_and_cost_no_picture_and_no_call() -> None:
    asked = 'labels.questions=[["{prompt} at dawn", "{prompt} at dusk"], ["{prompt}, left", "{prompt}, right"]]'
    plain, more = (shown(recipes.load("pick-style", given), "embedded") for given in ([NONE], [NONE, asked]))
    line = "controls: 2 questions, 4 more texts an image; no picture is drawn for them and no server asked"
    assert line in more and "controls" not in plain
    assert plain.splitlines() == [said for said in more.splitlines() if said != line]


def test_negative_controls_are_counted_with_their_images_or_it_is_said_why_there_are_none() -> None:
    none, some = (estimates.estimate(recipes.load("pick-safety", given), "embedded") for given in ([NONE], []))
    assert some.images == none.images + 60 and some.disk_bytes > none.disk_bytes
    assert "controls: 30 pairs (60 of the images), drawn and judged but in no dataset" in shown(
        recipes.load("pick-safety", []), "embedded"
    )
    few = shown(recipes.load("pick-safety", ["prompts.count=99"]), "embedded")
    assert "controls: none is drawn: labels.controls = 0.1 tells nothing of fewer than 100 prompts" in few
    ranked = recipes.load("pick-safety", ['pairing="rank"', "images.candidates=4"])
    assert "controls: none is drawn: with pairing = 'rank'" in shown(ranked, "embedded")
    copied = recipes.load("open-preferences", ["labels.copies=0.5"])
    count = copied.prompts.count * copied.images.candidates // 2
    assert f"controls: {count:,} degraded copies are shown to all judges" in shown(copied, "embedded")
    assert "controls: no copy is degraded" in shown(recipes.load("pick-style", ["labels.copies=1"]), "embedded")
