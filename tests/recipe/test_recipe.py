"""Recipes: what is accepted, what is refused in one line, and what counts in the digest."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from datagen import recipe as recipes
from datagen.errors import RecipeError
from datagen.recipe import JudgeChoice, as_begun, asks_llm, digest, folder, load, names, of_run, resolved


@pytest.mark.parametrize("name", names())
def test_shipped_recipes_load_and_serve_every_profile(name: str) -> None:
    recipe = load(name, [])
    assert recipe.name == name
    assert set(recipe.profiles) == {"embedded", "sd15", "sdxl"}
    for profile in recipe.profiles:
        files = resolved(recipe, profile)["files"]  # all that it names are there
        assert f"principles/{recipe.profile(profile).taxonomy}.toml" in files
        assert ("grammars/" in str(files)) == (recipe.writer(recipe.profile(profile)) == "offline")
        assert ("templates/scenes.md" in files) == asks_llm(recipe, recipe.profile(profile))


def test_the_recipes_of_the_readme_are_there() -> None:
    assert {"pick-style", "pick-safety", "pick-culture", "livo-toxicity", "livo-debias", "open-preferences"} <= set(
        names()
    )


def test_overrides_are_toml_and_fall_back_to_text() -> None:
    recipe = load("pick-style", ["prompts.count=8", "profiles.embedded.judges=['world']", "description=no = toml"])
    assert recipe.prompts.count == 8
    assert recipe.profile("embedded").judges == (JudgeChoice(name="world"),)
    assert recipe.description == "no = toml"


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("prompts.cuont=8", "unknown key 'prompts.cuont': did you mean 'count'?"),
        ("sede=1", "unknown key 'sede': did you mean 'seed'?"),
        ("profiles.sd15.stpes=4", "unknown key 'profiles.sd15.stpes': did you mean 'steps'?"),
        ("profiles.sd16.steps=4", "profiles.sd16.model is missing"),
        ("prompts.count='8'", "prompts.count is '8': it should be a valid integer"),
        ("prompts.count=many", "prompts.count is 'many': it should be a valid integer"),
        ("prompts.count=0", "prompts.count is 0: it should be greater than or equal to 1"),
        ("prompts.count=true", "prompts.count is True: it should be a valid integer"),
        ("same_seed=1", "same_seed is 1: it should be a valid boolean"),
        ("profiles.embedded.width=63", "profiles.embedded.width is 63: it should be a multiple of 8"),
        ("profiles.embedded.guidance=nan", "profiles.embedded.guidance is nan: it should be a finite number"),
        ("profiles.embedded.judges='clip'", "profiles.embedded.judges is 'clip': it should be a valid list"),
        ("profiles.embedded.judges=[]", "profiles.embedded.judges is []: "),
        ("profiles.embedded.taxonomy='../x'", "profiles.embedded.taxonomy is '../x': "),
        ("pairing=bets", "pairing is 'bets': it should be 'contrast', 'rank', 'list' or 'pool'"),
        ("pairing=rank", "set images.candidates to 2 or more"),
        ("images.violating=2", "images.aligned and images.violating need pairing = 'pool': set images.candidates"),
        ("prompts.writer=lmm", "prompts.writer is 'lmm': it should be 'offline', 'llm', 'modifier' or 'file'"),
        ("prompts.writer=file", "name their file or data set in prompts.source"),
        ("prompts.principles_each=4", "prompts.principles_each is 4: it should be less than or equal to 3"),
        ("prompts.asked_share=0.9", "together must be at most 1"),
        ("profiles.sd15.other_models=['a/b']", "profiles.sd15.other_models needs pairing = 'rank'"),
        ("llm.widne=3", "unknown key 'llm.widne': did you mean 'widen'?"),
        ("llm.angles=[]", "llm.angles is []: "),
        ("prompts=3", "prompts is 3: it should be a valid dictionary"),
        ("seed.of=3", "--set 'seed.of=3': seed is a value, not a table"),
        ("count", "--set 'count': give key=value"),
        ("=3", "--set '=3': give key=value"),
    ],
)
def test_what_cannot_be_used_is_named_in_one_line(override: str, line: str) -> None:
    with pytest.raises(RecipeError) as error:
        load("pick-style", [override])
    assert line in str(error.value)
    assert "\n" not in str(error.value)


def test_a_pool_is_of_two_sets_and_has_no_candidates() -> None:
    with pytest.raises(RecipeError, match="set images.aligned and images.violating instead"):
        load("livo-debias", ["images.candidates=2"])
    assert load("livo-debias", ["images.aligned=3"]).images_each() == {"chosen": 3, "rejected": 2}


def renamed(tmp_path: Path, name: str) -> str:
    text = (recipes.PROMPTS / "recipes" / "pick-style.toml").read_text()
    path = tmp_path / "mine.toml"
    path.write_text(text.replace("[profiles.sd15]", f"[profiles.{name}]"))
    return str(path)


def test_any_name_of_the_recipe_is_a_profile_and_no_other(tmp_path: Path) -> None:
    recipe = load(renamed(tmp_path, "my-model_2"), [])
    assert recipe.profile("my-model_2").steps == 25
    with pytest.raises(
        RecipeError, match="has no profile 'my-modl_2'; did you mean 'my-model_2'. known: auto, embedded"
    ):
        recipe.profile("my-modl_2")


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("auto", "profiles: 'auto' stands for what a machine can serve"),
        ("'a b'", "profiles.a b is 'a b': String should match pattern"),
        ("'../x'", "profiles.../x is '../x': String should match pattern"),
    ],
)
def test_a_name_that_cannot_be_a_profile_is_refused(tmp_path: Path, name: str, line: str) -> None:
    with pytest.raises(RecipeError) as error:
        load(renamed(tmp_path, name), [])
    assert line in str(error.value)


def test_an_unknown_recipe_is_refused_with_the_nearest() -> None:
    with pytest.raises(RecipeError, match="no recipe is called 'pick-stile'; did you mean 'pick-style'"):
        load("pick-stile", [])
    with pytest.raises(RecipeError, match="no recipe is called '../x'"):
        load("../x", [])


@pytest.mark.parametrize("content", [b"name = [", b"\xff\xfe", b""])
def test_a_file_that_is_no_recipe_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=r"is not a TOML file|name is missing"):
        load(str(path), [])
    with pytest.raises(RecipeError, match="cannot read the recipe .*: No such file"):
        load(str(tmp_path / "none.toml"), [])


def test_the_digest_counts_the_chosen_profile_only() -> None:
    base = load("pick-style", [])
    other = load("pick-style", ["profiles.sdxl.steps=31"])
    assert digest(base, "embedded") == digest(other, "embedded")
    assert digest(base, "sdxl") != digest(other, "sdxl")
    assert digest(base, "embedded") != digest(load("pick-style", ["seed=1"]), "embedded")
    assert digest(base, "embedded") == digest(load("pick-style", ["profiles.embedded.guidance=4"]), "embedded")


def test_the_digest_counts_the_text_of_the_taxonomy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = load("pick-style", [])
    (tmp_path / "principles").mkdir()
    (tmp_path / "principles" / f"{recipe.profile('embedded').taxonomy}.toml").write_text("other")
    before = digest(recipe, "embedded")
    monkeypatch.setattr(folder, "PROMPTS", tmp_path)
    assert digest(recipe, "embedded") != before


def test_a_recipe_and_its_profiles_cannot_be_altered() -> None:
    recipe = load("pick-style", [])
    assert hash(recipe.profile("embedded"))
    with pytest.raises(ValueError, match="frozen"):
        recipe.seed = 3


def test_the_digest_counts_what_the_writer_of_the_profile_reads_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "prompts.txt"
    source.write_text("a chef")
    offline = load("pick-style", [f"prompts.source={source}"])
    asked = load("pick-style", [f"prompts.source={source}", "profiles.sd15.writer=llm"])
    before = digest(offline, "embedded"), digest(asked, "sd15")
    source.write_text("a cook")
    assert digest(offline, "embedded") == before[0]
    assert digest(asked, "sd15") != before[1]
    copy = tmp_path / "copy"
    shutil.copytree(recipes.PROMPTS, copy)
    monkeypatch.setattr(folder, "PROMPTS", copy)
    before = digest(offline, "embedded"), digest(asked, "sd15")
    (copy / "templates" / "scenes.md").write_text("other")
    assert digest(offline, "embedded") == before[0]
    assert digest(asked, "sd15") != before[1]


def test_a_profile_may_have_a_licence_of_its_own() -> None:
    recipe = load("pick-style", [])
    found = {name: recipe.license_of(profile) for name, profile in recipe.profiles.items()}
    assert found == {"embedded": "apache-2.0", "sd15": "creativeml-openrail-m", "sdxl": "openrail++"}


def test_judges_are_a_list_of_names_or_a_table_of_their_options_in_order() -> None:
    clip = JudgeChoice(name="clip", options={"model": "ViT-L-14/openai"})
    jury = load("pick-style", []).profile("embedded").judges
    assert jury[0] == JudgeChoice(name="clip", options={"model": "embedded"}) and len(jury) > 2
    assert load("pick-style", []).profile("sd15").judges == (clip,)
    given = load("pick-style", ["profiles.embedded.judges={clip = {model = 'ViT-L-14/openai'}, world = {}}"])
    assert given.profile("embedded").judges == (clip, JudgeChoice(name="world"))
    added = load("pick-style", ["profiles.embedded.judges.clip.model=ViT-L-14/openai"])
    assert added.profile("embedded").judges == (clip, *jury[1:])
    twice = load("pick-style", ["profiles.embedded.judges=['clip', 'world', 'clip']"])
    assert [judge.name for judge in twice.profile("embedded").judges] == ["clip", "world"]


def test_another_order_or_option_of_judges_is_another_digest_and_a_run_finds_its_judges_again() -> None:
    recipes_ = [
        load("pick-style", [f"profiles.embedded.judges={judges}"])
        for judges in ("['world', 'clip']", "['clip', 'world']", "{world = {}, clip = {model = 'x'}}")
    ]
    assert len({digest(recipe, "embedded") for recipe in recipes_}) == 3
    for recipe in recipes_:
        found, name = of_run({"recipe": resolved(recipe, "embedded")})
        assert found.profile(name).judges == recipe.profile("embedded").judges


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("profiles.embedded.judges.clip=ViT-L-14/openai", "clip is 'ViT-L-14/openai': give a table of the judge's op"),
        ("profiles.embedded.judges={}", "profiles.embedded.judges is "),
        ("profiles.sd15.clip_model=x", "profiles.sd15.clip_model is now profiles.sd15.judges.clip.model"),
    ],
)
def test_judges_of_another_form_are_one_line(override: str, says: str) -> None:
    with pytest.raises(RecipeError, match="^recipe pick-style: [^\n]*$") as caught:
        load("pick-style", [override])
    assert says in str(caught.value)


def test_parameters_of_the_llm_are_passed_on_and_decide_rows() -> None:
    plain = load("pick-safety", ["profiles.sd15.writer=llm"])
    asked = load(
        "pick-safety",
        ["profiles.sd15.writer=llm", "llm.parameters.reasoning_effort=low",
         "llm.parameters.chat_template_kwargs.enable_thinking=false"],
    )  # fmt: skip
    assert asked.llm.parameters == {"reasoning_effort": "low", "chat_template_kwargs": {"enable_thinking": False}}
    assert digest(asked, "sd15") != digest(plain, "sd15")
    assert "parameters" not in resolved(plain, "sd15")["llm"]  # a run from before there were any is the same run
    assert of_run({"recipe": resolved(asked, "sd15")})[0].llm == asked.llm


@pytest.mark.parametrize("name", ["model", "n", "stream", "max_tokens", "response_format", "messages", "temperature"])
def test_parameters_that_the_client_decides_are_refused(name: str) -> None:
    with pytest.raises(RecipeError, match=f"llm.parameters: {name} may not stand here"):
        load("pick-safety", [f"llm.parameters.{name}=1"])


@pytest.mark.parametrize(
    "tiers", ["[['clip']]", "[['clip'], ['world', 'clip']]", "[['clip', 'wrold']]", "[[], ['clip', 'world']]"]
)
def test_each_judge_stands_in_one_tier(tiers: str) -> None:
    judges = ["profiles.embedded.judges=['world', 'clip']"]
    with pytest.raises(RecipeError, match="each of the judges world, clip must stand in one tier, once"):
        load("pick-safety", [*judges, f"profiles.embedded.tiers={tiers}"])
    loaded = load("pick-safety", [*judges, "profiles.embedded.tiers=[['clip'], ['world']]"])
    assert loaded.profile("embedded").tiers == (("clip",), ("world",))
    plain = load("pick-safety", judges)
    assert digest(plain, "embedded") != digest(loaded, "embedded")
    assert "tiers" not in resolved(plain, "embedded")["profile"]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ('[["{prompt} at dawn"]]', "labels.questions.0"),
        ('[["{prompt} at dawn", "at dusk"]]', "labels.questions.0.1 is 'at dusk'"),
        ('[["{prompt} at dawn", "{prompt} at dawn"]]', "give two texts that differ"),
        ("dawn", "labels.questions is 'dawn'"),
        ("[[1, 2]]", "labels.questions.0.0 is 1"),
    ],
)
def test_questions_of_another_form_are_one_line(value: str, says: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(says)) as caught:
        load("pick-style", [f"labels.questions={value}"])
    assert "\n" not in str(caught.value)


def test_questions_decide_what_is_asked_and_a_judged_run_cannot_be_given_others() -> None:
    plain = load("pick-style", [])
    asked = load("pick-style", ['labels.questions=[["{prompt} at dawn", "{prompt} at dusk"]]'])
    assert digest(plain, "embedded") != digest(asked, "embedded")
    assert "questions" not in resolved(plain, "embedded")["labels"]
    assert recipes.label_rules(plain) == recipes.label_rules(asked)
    settings = {"recipe": resolved(asked, "embedded")}
    assert of_run(settings)[0].labels.questions == asked.labels.questions
    with pytest.raises(RecipeError, match="start another run"):
        recipes.label_changes(plain, ["labels.questions=[]"])


def test_a_run_from_before_files_could_be_chosen_goes_on_with_png_and_is_of_the_same_digest() -> None:
    new, png = load("pick-style", []), load("pick-style", ["images.format=png"])
    begun = resolved(png, "embedded")
    assert "format" not in begun["images"] and "metadata" not in begun["images"]
    settings = {"recipe": begun, "digest": "d", "version": "1"}
    assert digest(as_begun(new, settings), "embedded") == digest(png, "embedded") != digest(new, "embedded")
    assert of_run(settings)[0].images.format == "png"
    for given in ("webp", "png", "jpeg"):  # what was asked for is not changed
        asked = load("pick-style", [f"images.format={given}"])
        assert as_begun(asked, settings) is asked
    now = {"recipe": resolved(new, "embedded"), "digest": "d", "version": "1"}
    assert as_begun(new, now) is new and as_begun(new, None) is new
    assert of_run(now)[0].images.format == "webp"


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("images.format=gif", "images.format is 'gif': it should be 'webp', 'png' or 'jpeg'"),
        ("images.format=PNG", "images.format is 'PNG'"),
        ("images.formt=png", "unknown key 'images.formt': did you mean 'format'"),
        ("images.metadata=1", "images.metadata is 1"),
    ],
)
def test_files_that_cannot_be_written_are_refused(setting: str, said: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(said)):
        load("pick-style", [setting])
