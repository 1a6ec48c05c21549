"""Give the package one name, `verimask`, whatever folder it lies in.

Rules:
- Installed, the package is `verimask`, and nothing called `pipeline` is installed: that is everybody's own folder.
- In a checkout the folder is `pipeline`. Imported by that name, it and its modules are those of `verimask`: one copy in
  one process, so that types, exceptions and pickles agree.
- Where another copy of `verimask` is loaded already, an import by the folder's name fails and says so.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import CodeType, ModuleType

NAME = "verimask"


class _SharedModules:
    """Finds `pipeline.x.y`, and gives `verimask.x.y` for it: a finder and a loader, without the cost of importlib.abc.

    alias: the other name of the package.
    """

    def __init__(self, alias: str) -> None:
        self._alias = alias

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return how to load a module of this package by the alias; None if it is not one."""
        if not fullname.startswith(f"{self._alias}."):
            return None
        ours = find_spec(self._ours(fullname))
        if ours is None:
            return None
        package = ours.submodule_search_locations is not None
        return ModuleSpec(fullname, self, origin=ours.origin, is_package=package)  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        """Let the import system make an empty module."""

    def exec_module(self, module: ModuleType) -> None:
        """Put the module of `verimask` where the import system has put an empty one; it takes what it finds there."""
        sys.modules[module.__name__] = import_module(self._ours(module.__name__))

    def get_code(self, fullname: str) -> CodeType | None:
        """Return the code of a module; `python -m pipeline` asks for it."""
        spec = find_spec(self._ours(fullname))
        loader = None if spec is None else spec.loader
        return None if loader is None else loader.get_code(self._ours(fullname))  # type: ignore[attr-defined]

    def _ours(self, fullname: str) -> str:
        return NAME + fullname[len(self._alias) :]


def share(alias: str, file: str) -> None:
    """Make `alias` another name of this package.

    Args:
        alias: the name under which the folder was imported.
        file: the `__init__` that was imported under it.

    Raises: ImportError if the package that is loaded lies in another folder.
    """
    package = sys.modules[NAME]
    if not os.path.samefile(str(package.__file__), file):
        raise ImportError(
            f"{NAME} is loaded from {package.__file__} already; {file} would be a second copy", name=alias
        )
    sys.meta_path.insert(0, _SharedModules(alias))
    sys.modules[alias] = package
