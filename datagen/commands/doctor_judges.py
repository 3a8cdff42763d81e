"""What `datagen doctor` says of the judges: which can be asked, what the others need, and where it is looked for."""

from __future__ import annotations

from typing import Any

from datagen import judges
from datagen.errors import DatagenError
from datagen.judges import JUDGES, Facts, jury


def report() -> list[tuple[str, str]]:
    """(judge NAME, finding) for every judge with its default options. Loads no model, downloads nothing."""
    return [(f"judge {name}", _about(name)) for name in JUDGES.names()]


def _about(name: str) -> str:
    judge: Any
    try:
        judge = judges.load(name, {})
        missing = getattr(getattr(judge, "needs", None), "missing", "")
        found = "it asks the LLM server below" if hasattr(judge, "server") else missing or "all that it needs is here"
    except DatagenError as error:
        found = str(error).removeprefix(f"the judge {name}").lstrip(": ")
        if jury.folder(name).is_dir():
            found += f"; for the embedded model's images judges.{name}.weights = '{jury.EMBEDDED}' is here"
        judge = _class(name)
    facts = getattr(judge, "facts", None)
    return "; ".join([found, *(_said(facts) if isinstance(facts, Facts) else [])])


def _class(name: str) -> Any:
    """The class of a judge that cannot be made: most say their facts there already."""
    try:
        return getattr(JUDGES.module(name), "Judge", None)
    except Exception:  # a file of somebody else's, whose fault was said already
        return None


def _said(facts: Facts) -> list[str]:
    """Licences, and what scores are equal to."""
    said = [f"code: {facts.code_license}"]
    if facts.weights_license:
        said.append(f"weights: {facts.weights_license}")
    if facts.reference:
        said.append(f"equals {facts.reference}")
    if facts.judges_world_only:
        said.append("for the embedded model's images only")
    return said
