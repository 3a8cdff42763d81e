"""The rules of the house that a reader relies on: who imports whom, what is public, and that every module imports."""

from __future__ import annotations

import ast
import graphlib
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted([*ROOT.glob("datagen/**/*.py"), *ROOT.glob("training/**/*.py")])
HEAVY = {"torch", "torchvision", "diffusers", "transformers", "open_clip", "datasets", "pandas", "accelerate", "peft"}
# A room → what it may import of its own package; files that lie in no room count as rooms of one file.
GROUND = {"errors", "records", "recipe", "store", "progress", "models"}
LEAVES = {"console", "registry", "safety", "text", "images", "objects", "tables", "weights", "world"}
# What training may import: leaves, which import nothing but errors and each other. One rule for both sides. Evaluation
# may ask the judges as well, so that a score means the same wherever it is computed.
SHARED = {"errors", "console", "images", "objects", "tables", "weights", "world"}
DATAGEN: dict[str, set[str]] = {
    "errors": set(),
    "progress": set(),
    "safety": set(),
    "console": set(),
    "registry": {"errors"},
    "world": {"weights"},
    "weights": {"errors"},
    "records": {"errors"},
    "recipe": {"errors", "records"},
    "store": {"errors", "objects", "records"},
    "models": {"errors", "recipe", "weights", "world"},
    "text": {"errors", "records", "models", "safety", "weights", "world"},
    "images": {"errors"},
    "objects": {"errors"},
    "tables": {"errors", "images"},
    "llm": GROUND | LEAVES,
    "executors": GROUND | {"registry"},
    "generators": GROUND | LEAVES | {"llm"},
    "judges": GROUND | LEAVES | {"registry", "llm"},
    "labels": GROUND | LEAVES | {"judges"},
    "writers": GROUND | LEAVES | {"llm"},
    "export": GROUND | LEAVES | {"judges", "labels"},
    "report": GROUND | LEAVES | {"labels", "export"},
    "review": GROUND | LEAVES | {"labels", "report"},
    "stages": GROUND | LEAVES | {"llm", "writers", "generators", "judges", "labels"},
    "pipeline": GROUND | LEAVES | {"llm", "executors", "stages", "export"},
    "commands": GROUND
    | LEAVES
    | {"llm", "executors", "writers", "generators", "judges", "labels", "export", "report", "review", "pipeline"},
    "cli": GROUND | {"console", "objects", "executors", "generators", "export", "pipeline", "commands"},
    "__main__": {"cli"},
}
TRAINING: dict[str, set[str]] = {
    "errors": set(),
    "progress": set(),
    "losses": {"errors"},
    "models": {"errors"},
    "settings": {"errors", "losses", "models"},
    "data": {"errors", "progress"},
    "cache": {"errors", "progress", "data", "models"},
    "trainables": {"errors", "settings", "losses", "models"},
    "inference": {"errors", "progress", "data", "models", "trainables"},
    "evaluation": {"errors", "settings", "progress", "data", "models", "inference"},
    "loop": {"errors", "settings", "progress", "losses", "models", "data", "cache", "trainables", "inference"},
    "train": {"errors", "settings", "progress", "losses", "models", "data", "cache", "trainables", "loop"},
    "run": {"errors", "settings", "train"},
    "evaluate": {"errors", "settings", "evaluation"},
    "sample": {"errors", "settings", "evaluation"},
    "export": {"errors", "settings", "inference"},
}
ROOMS = {"datagen": DATAGEN, "training": TRAINING}


def module_of(path: Path) -> str:
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in SOURCES}


def imports(path: Path, *, top_level_only: bool = False) -> Iterator[str]:
    """The full names that a file imports, also those that only a type checker reads."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if top_level_only:
        nodes = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    else:
        nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        else:
            assert node.level == 0, f"{path} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def files_imported(path: Path) -> set[str]:
    """The modules of ours that a file imports."""
    found = set()
    for name in imports(path):
        known = name if name in MODULES else name.rpartition(".")[0]
        if known in MODULES and known != module_of(path):
            found.add(known)
    return found


def room_of(module: str) -> str:
    """The room that a module lies in; the file itself where it lies in none."""
    return module.split(".")[1] if "." in module else "__init__"


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_every_module_imports(path: Path) -> None:
    importlib.import_module(module_of(path))


@pytest.mark.parametrize("package", ROOMS)
def test_every_room_stands_in_the_order_and_no_other(package: str) -> None:
    rooms = {room_of(name) for name in MODULES if name.startswith(f"{package}.")}
    assert rooms == set(ROOMS[package])
    graphlib.TopologicalSorter({room: below & rooms for room, below in ROOMS[package].items()}).prepare()


@pytest.mark.parametrize(("package", "room"), [(name, room) for name, rooms in ROOMS.items() for room in rooms])
def test_data_flows_one_way(package: str, room: str) -> None:
    for name, path in MODULES.items():
        if name.startswith(f"{package}.") and room_of(name) == room:
            known = {room_of(other) for other in files_imported(path) if other.startswith(f"{package}.")} - {room}
            assert known <= ROOMS[package][room], f"{name} imports {known - ROOMS[package][room]}"


def test_no_file_imports_itself_by_way_of_others() -> None:
    graphlib.TopologicalSorter({name: files_imported(path) for name, path in MODULES.items()}).prepare()


def test_training_knows_a_few_leaves_of_datagen_and_datagen_knows_nothing_of_training() -> None:
    for name, path in MODULES.items():
        others = {other for other in imports(path) if other.split(".")[0] in ROOMS} - {name}
        if name.startswith("datagen"):
            assert not [other for other in others if other.startswith("training")], name
        else:
            known = {room_of(other) for other in others if other.startswith("datagen")}
            allowed = SHARED | ({"judges"} if room_of(name) == "evaluation" else set())
            assert known <= allowed, f"{name} imports {known - allowed}"


def test_what_both_packages_know_imports_nothing_but_errors_and_its_like() -> None:
    for room in SHARED:
        assert DATAGEN[room] <= SHARED, room


@pytest.mark.parametrize(("package", "most"), [("datagen", 8), ("training", 8)])
def test_few_files_lie_in_no_room(package: str, most: int) -> None:
    assert len(list((ROOT / package).glob("*.py"))) <= most


# Calls that read weights, tokenizers or schedulers: who makes them, and why not by way of the door.
LOADERS = {
    "from_pretrained", "from_single_file", "load_state_dict", "load_lora_weights", "load_adapter", "load_file",
    "safe_open", "create_model_and_transforms", "get_tokenizer",
}  # fmt: skip
LOADS_ITSELF = {
    "training.loop.update": "the state of a gradient scaler, three numbers",
}


def loads(path: Path) -> Iterator[str]:
    """The calls of a file that load something, and `torch.load`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name.rpartition(".")[2] in LOADERS or name == "torch.load":
                yield name


def test_everything_is_loaded_through_the_one_door_for_weights() -> None:
    for name, path in MODULES.items():
        if not name.startswith("datagen.weights") and name not in LOADS_ITSELF:
            found = list(loads(path))
            assert not found, f"{name} calls {found}: load by way of datagen.weights"
    assert all(list(loads(MODULES[name])) for name in LOADS_ITSELF)


def test_only_the_pipeline_imports_a_stage() -> None:
    for name, path in MODULES.items():
        if room_of(name) not in {"stages", "pipeline"}:
            assert not {other for other in files_imported(path) if other.startswith("datagen.stages")}, name


def reached_by_the_command_line() -> set[Path]:
    """What an import of the command line, of the pipeline and of every stage imports at once."""
    rooms = ("cli", "commands", "pipeline", "stages", "executors")
    todo = [path for room in rooms for path in (ROOT / "datagen" / room).glob("*.py")]
    seen = set[Path]()
    while todo:
        path = todo.pop()
        if path in seen:
            continue
        seen.add(path)
        for name in imports(path, top_level_only=True):
            todo += [MODULES[full] for full in (name, name.rpartition(".")[0]) if full in MODULES]
    return seen


def test_heavy_libraries_are_imported_where_they_are_used() -> None:
    for path in reached_by_the_command_line():
        heavy = {name.split(".")[0] for name in imports(path, top_level_only=True)} & HEAVY
        assert not heavy, f"{path} imports {heavy} at its top"


def test_every_module_says_what_it_is_for() -> None:
    for path in SOURCES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert not tree.body or ast.get_docstring(tree), f"{path} has no docstring"


def test_there_is_no_drawer_for_odds_and_ends() -> None:
    assert not [path for path in SOURCES if path.stem in {"utils", "helpers", "common", "misc", "base"}]


def test_the_prompts_folder_has_what_a_researcher_edits() -> None:
    for folder in ("recipes", "principles"):
        assert list((ROOT / "prompts" / folder).glob("*.toml")), folder
