"""A folder as a table of what there is to choose from: one file per entry, named after the file.

Nothing is imported to list it, and only the chosen entry is imported. A module from elsewhere is chosen by its dotted
name, or by the name under which its package registers it as an entry point; files of the folder come first.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import importlib.metadata
import importlib.util
import pkgutil
from pathlib import Path
from types import ModuleType

from datagen.errors import UserError, nearest


@dataclasses.dataclass(frozen=True)
class Registry:
    """The entries of one package. `kind` and `error` are for the message about an unknown name."""

    package: str
    kind: str
    error: type[UserError]
    not_entries: tuple[str, ...] = ()  # files of the folder that are not entries
    group: str = ""  # of entry points that register modules from elsewhere

    def names(self) -> list[str]:
        """The entries that there are, those of other packages among them."""
        return sorted({*self._files(), *self._announced()})

    def _files(self) -> list[str]:
        """The entries of the folder; packages and files that begin with an underscore do not count."""
        found = pkgutil.iter_modules([str(self._folder())])
        return sorted(
            entry.name
            for entry in found
            if not entry.ispkg and not entry.name.startswith("_") and entry.name not in self.not_entries
        )

    def described(self) -> list[tuple[str, str]]:
        """(name, first line of the file's docstring) of each entry; of one from elsewhere, its module."""
        described = {name: f"the module {module}" for name, module in self._announced().items()}
        described |= {name: _first_line(self._folder() / f"{name}.py") for name in self._files()}
        return sorted(described.items())

    def check(self, name: str) -> None:
        """Raise `error`, which offers the nearest name, if there is no such entry. Nothing is imported."""
        if name in self.names() or ("." in name and _exists(name)):
            return
        raise self.error(
            f"no {self.kind} is called {name!r}; {nearest(name, self.names())}; or give the dotted name of a module"
        )

    def module(self, name: str) -> ModuleType:
        """The file of an entry; `error`, which offers the nearest name, if there is none."""
        self.check(name)
        if name in self._files():
            return importlib.import_module(f"{self.package}.{name}")
        return importlib.import_module(self._announced().get(name, name))

    def _announced(self) -> dict[str, str]:
        """Entry point → module."""
        if not self.group:
            return {}
        return {entry.name: entry.value for entry in importlib.metadata.entry_points(group=self.group)}

    def _folder(self) -> Path:
        spec = importlib.util.find_spec(self.package)
        assert spec is not None and spec.submodule_search_locations  # a package of ours
        return Path(spec.submodule_search_locations[0])


def _exists(name: str) -> bool:
    """Whether a dotted name is a module on the import path."""
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):  # its package is not there, or the name is malformed
        return False


def _first_line(path: Path) -> str:
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8-sig"))) or "").partition("\n")[0]
