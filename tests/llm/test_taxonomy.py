"""Taxonomies and grammars are strict: what is wrong is named with its file and entry, in one line."""

from pathlib import Path

import pytest

from datagen.errors import RecipeError
from datagen.llm import taxonomy

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


@pytest.mark.parametrize("name", taxonomy.taxonomy_names())
def test_every_taxonomy_that_we_ship_is_sound_and_names_its_source(name: str) -> None:
    rows = taxonomy.taxonomy(name)
    assert rows and all(row.source and row.statement and row.author == f"taxonomy:{name}" for row in rows)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('source = "s"\n' + entry() + entry(), "duplicate id a"),
        ('source = "s"\n' + entry(aligned="no variable"), r"a.aligned is 'no variable': it must hold \{prompt\}"),
        ('source = "s"\n' + entry(aligned="{prompt} {over}"), "it must hold"),
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
