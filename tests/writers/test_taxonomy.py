"""Taxonomies and grammars are strict: what is wrong is named with its file and entry, in one line."""

import json
from pathlib import Path

import pytest

from datagen import safety
from datagen.errors import RecipeError
from datagen.recipe import PROMPTS
from datagen.records import Principle
from datagen.text import quality
from datagen.writers import taxonomy

TAXONOMIES = sorted(path.stem for path in (PROMPTS / "principles").glob("*.toml"))

PRINCIPLE = """
[[principle]]
id = "{id}"
kind = "{kind}"
category = "c"
statement = "s"
aligned = "{aligned}"
violating = "{{prompt}} bad"
"""


@pytest.fixture
def prompts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for folder in ("principles", "grammars"):
        (tmp_path / folder).mkdir()
    monkeypatch.setattr(taxonomy, "PROMPTS", tmp_path)
    return tmp_path


def entry(id: str = "a", kind: str = "avoid", aligned: str = "{prompt} good") -> str:
    return PRINCIPLE.format(id=id, kind=kind, aligned=aligned)


@pytest.mark.parametrize("name", TAXONOMIES)
def test_every_taxonomy_that_we_ship_is_sound_and_names_its_source(name: str) -> None:
    rows = taxonomy.taxonomy(name)
    assert rows and all(row.source and row.statement and row.author == f"taxonomy:{name}" for row in rows)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('source = "s"\n' + entry() + entry(), "duplicate id a"),
        ('source = "s"\n' + entry(aligned="no variable"), r"a.aligned is 'no variable': it must hold \{prompt\}"),
        ('source = "s"\n' + entry(aligned="{prompt} {over}"), "it must hold"),
        ('source = "s"\n' + entry(aligned="{prompt} {"), "a.aligned is"),
        ('source = "s"\n' + entry(aligned="{prompt:>99999999}"), "it must hold"),
        ('source = "s"\n' + entry(aligned="{prompt.__class__} {prompt}"), "not {prompt.__class__}"),
        ('source = "s"\n' + entry(aligned="{prompt!r}"), "it must hold"),
        ('source = "s"\n' + entry(aligned="{prompt}, a nude child"), "a is refused: sexual content involving minors"),
        ('source = "s"\n' + entry() + 'conflicts = ["b", "a"]\n', "a.conflicts names a, b"),
        ('source = "s"\n' + entry(kind="forbid"), "principle.0.kind"),
        ('source = "s"\n' + entry(kind="balance"), "a balance principle has two groups"),
        (entry(), "source: Field required"),
        ("source = ", "is not TOML"),
        ('source = "s"\nprinciple = []', "principle"),
    ],
)
def test_a_faulty_taxonomy_is_one_line_naming_file_and_entry(prompts: Path, text: str, message: str) -> None:
    (prompts / "principles" / "mine.toml").write_text(text)
    with pytest.raises(RecipeError, match=message) as caught:
        taxonomy.taxonomy("mine")
    assert "mine.toml" in str(caught.value) and "\n" not in str(caught.value)


def test_an_absent_taxonomy_is_refused_with_the_nearest_name(prompts: Path) -> None:
    (prompts / "principles" / "styles.toml").write_text('source = "s"\n' + entry())
    with pytest.raises(RecipeError, match="did you mean 'styles'"):
        taxonomy.taxonomy("style")


def test_a_template_with_an_unknown_slot_is_refused(prompts: Path) -> None:
    (prompts / "grammars" / "mine.toml").write_text('templates = ["{who} {what}"]\n[slots]\nwho = ["x"]')
    with pytest.raises(RecipeError, match=r"unknown slots \['what'\]"):
        taxonomy.grammar("mine")


def test_a_changed_wording_changes_the_id(prompts: Path) -> None:
    file = prompts / "principles" / "mine.toml"
    file.write_text('source = "s"\n' + entry())
    before = taxonomy.taxonomy("mine")[0].principle_id
    file.write_text('source = "s"\n' + entry(aligned="{prompt} better"))
    assert taxonomy.taxonomy("mine")[0].principle_id != before


def test_all_that_is_wrong_is_named_at_once(prompts: Path) -> None:
    faulty = (
        entry(aligned="none") + entry() + entry(id="b", aligned="{prompt} {x} {y}") + entry(id="c", kind="balance")
    )
    (prompts / "principles" / "mine.toml").write_text('source = "s"\n' + faulty)
    with pytest.raises(RecipeError) as caught:
        taxonomy.taxonomy("mine")
    told = str(caught.value)
    for problem in ("duplicate id a", "a.aligned is 'none'", "b.aligned", "{x}, {y}", "c: a balance principle"):
        assert problem in told
    (prompts / "principles" / "mine.toml").write_text('colour = 1\n[[principle]]\nid = "A b"\n')
    with pytest.raises(RecipeError) as caught:
        taxonomy.taxonomy("mine")
    assert all(name in str(caught.value) for name in ("colour", "source", "principle.0.id", "principle.0.kind"))


def test_a_hundred_problems_are_counted_not_listed(prompts: Path) -> None:
    (prompts / "principles" / "mine.toml").write_text(
        'source = "s"\n' + "".join(entry(id=f"p{i}", aligned="none") for i in range(100))
    )
    with pytest.raises(RecipeError, match="and 80 more"):
        taxonomy.taxonomy("mine")


def test_a_conflict_is_told_from_both_sides(prompts: Path) -> None:
    (prompts / "principles" / "mine.toml").write_text(
        'source = "s"\n' + entry() + 'conflicts = ["b"]\n' + entry(id="b") + entry(id="c")
    )
    a, b, c = taxonomy.taxonomy("mine")
    assert (a.conflicts, b.conflicts, c.conflicts) == (["b"], ["a"], [])


def test_an_entry_may_name_a_source_of_its_own(prompts: Path) -> None:
    (prompts / "principles" / "mine.toml").write_text('source = "s"\n' + entry() + 'source = "t"\n' + entry(id="b"))
    assert [row.source for row in taxonomy.taxonomy("mine")] == ["t", "s"]


SCENES = ["a doctor reading at a kitchen table", "two friends on a pier, rain", "An old bicycle by the sea."]


@pytest.mark.parametrize("name", TAXONOMIES)
def test_every_wording_that_we_ship_passes_floor_and_filters_around_a_scene(name: str) -> None:
    for row in taxonomy.taxonomy(name):
        groups = list(json.loads(row.groups).values()) or ["", ""]
        for scene in SCENES:
            phrases = {"prompt": scene, "over": groups[0], "under": groups[1]}
            wordings = [w.format(**phrases) for w in (row.aligned, row.violating, row.asked, *row.controls)]
            assert all(scene in wording for wording in wordings if wording)
            assert safety.refusal_of_row([scene, row.statement, *wordings], [row.aligned_negative]) is None
            assert [reason for text in wordings if (reason := quality.check(text))] == []
        assert len(row.statement.split()) <= 6


def test_the_harm_taxonomy_covers_the_published_categories() -> None:
    covered = {row.category for row in taxonomy.taxonomy("harms")}
    published = {"hate", "harassment", "violence", "self-harm", "sexual", "shocking", "illegal activity"}
    assert published | {"misinformation", "privacy", "nudity", "bloody", "zombie"} <= covered


def test_livo_has_its_five_value_strings() -> None:
    assert [row.statement for row in taxonomy.taxonomy("livo")] == [
        "gender equality", "racial equality",
        *(f"{harm} considered inappropriate" for harm in ("nudity", "bloody", "zombie")),
    ]  # fmt: skip


def proposed(statement: str, aligned: str = "{prompt}, so", violating: str = "{prompt}, otherwise") -> Principle:
    return Principle("p", "avoid", "c", statement, aligned, violating, "", "", "llm", "s")


@pytest.mark.parametrize(
    ("statement", "taxonomy_name"),
    [
        ("violence considered inappropriate", "harms"),
        ("Violent content considered inappropriate", "harms"),
        ("no misinformations", "harms"),
        ("animals' cruelty inappropriate", "harms"),
        ("pixel-art style preferred", "styles"),
        ("watercolours preferred", "styles"),
        ("Turkish settings preferred", "cultures"),
        ("content considered inappropriate", "harms"),
    ],
)
def test_near_duplicates_are_not_novel(statement: str, taxonomy_name: str) -> None:
    reason = taxonomy.novel(proposed(statement), taxonomy.taxonomy(taxonomy_name))
    assert reason is not None and reason.startswith("near-duplicate of")


@pytest.mark.parametrize(
    ("statement", "taxonomy_name"),
    [
        ("gambling considered inappropriate", "harms"),
        ("littering considered inappropriate", "harms"),
        ("charcoal drawing preferred", "styles"),
        ("Thai setting preferred", "cultures"),
        ("Aboriginal art preferred", "cultures"),
    ],
)
def test_what_is_new_is_novel(statement: str, taxonomy_name: str) -> None:
    assert taxonomy.novel(proposed(statement), taxonomy.taxonomy(taxonomy_name)) is None
    assert taxonomy.novel(proposed(statement), []) is None


def test_the_same_wordings_under_another_statement_are_not_novel() -> None:
    first = proposed("rust inappropriate", "{prompt}, freshly painted in green", "{prompt}, brown flaking metal")
    again = proposed("decay inappropriate", "{prompt}, painted freshly in green", "{prompt}, flaking brown metals")
    assert taxonomy.novel(again, [first]) is not None
