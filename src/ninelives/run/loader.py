"""Imports the modules of a build: packages with and without `__init__.py`, relative and late imports.

Files of the build come before installed packages of the same name, as they would for a script in its
directory. In a durable session each module is rewritten (`instrument`) before it is loaded.
"""

import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.readers import FileReader
from pathlib import Path
from types import CodeType, ModuleType

from ninelives.run import bytecode, calltable

#: Modules that no file of a build replaces: the interpreter is made of them, or we are.
_KEPT = frozenset(
    {
        "abc", "builtins", "codecs", "encodings", "enum", "genericpath", "importlib", "io", "marshal",
        "ninelives", "os", "posix", "posixpath", "re", "site", "stat", "sys", "time", "types", "warnings",
        "zipimport",
    }
)  # fmt: skip

#: Begins the scope of a module's top level; returns what ends it.
LoadingScope = Callable[[], Callable[[], None]]


class Finder(MetaPathFinder):
    """Finds the modules of a build."""

    def __init__(
        self, build_dir: str, *, is_durable: bool, scope: LoadingScope, on_module: Callable[[str], None]
    ) -> None:
        self._root = Path(build_dir)
        self._is_durable = is_durable
        self._scope = scope
        self._on_module = on_module

    def install(self) -> None:
        """Come before all other finders, and forget modules that files of the build replace."""
        sys.meta_path.insert(0, self)
        if str(self._root) not in sys.path:
            sys.path.append(str(self._root))
        for name in _top_names(self._root):
            loaded = sys.modules.get(name)
            if loaded is not None and name not in _KEPT and name not in sys.builtin_module_names:
                del sys.modules[name]

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return where a module of the build is, or nothing for any other."""
        del target
        for directory in self._directories(fullname, path):
            spec = self._spec_in(directory, fullname)
            if spec is not None:
                return spec
        if self._is_durable and fullname.partition(".")[0] in calltable.REWRITTEN:
            return self._rewritten(fullname, path)
        return None

    def _rewritten(self, fullname: str, path: Sequence[str] | None) -> ModuleSpec | None:
        """Return where a module of a library is whose code is rewritten too; it is none of the project's."""
        spec = PathFinder.find_spec(fullname, path)
        if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
            return None
        return importlib.util.spec_from_file_location(
            fullname,
            spec.origin,
            loader=_Loader(Path(spec.origin), self._code_of, self._scope),
            submodule_search_locations=spec.submodule_search_locations,
        )

    def _directories(self, fullname: str, path: Sequence[str] | None) -> Iterator[Path]:
        if path is None:
            if fullname not in _KEPT:
                yield self._root
        else:
            root = str(self._root)
            yield from (Path(entry) for entry in path if entry == root or entry.startswith(root + os.sep))

    def _spec_in(self, directory: Path, fullname: str) -> ModuleSpec | None:
        place = directory / fullname.rpartition(".")[2]
        package, module = place / "__init__.py", place.with_name(place.name + ".py")
        if package.is_file():
            return self._spec(fullname, package, [str(place)])
        if module.is_file():
            return self._spec(fullname, module, None)
        if place.is_dir() and not self._is_installed(fullname):
            spec = ModuleSpec(fullname, None, is_package=True)
            spec.submodule_search_locations = [str(place)]
            return spec
        return None

    def _spec(self, fullname: str, file: Path, search: list[str] | None) -> ModuleSpec | None:
        loader = _Loader(file, self._code_of, self._scope)
        self._on_module(fullname)
        return importlib.util.spec_from_file_location(
            fullname, file, loader=loader, submodule_search_locations=search
        )

    def _is_installed(self, fullname: str) -> bool:
        """Tell whether a directory without code of its own would hide an installed package."""
        if "." in fullname:
            return False
        if fullname in sys.stdlib_module_names:
            return True
        elsewhere = [entry for entry in sys.path if entry != str(self._root)]
        spec = PathFinder.find_spec(fullname, elsewhere)
        return spec is not None and spec.loader is not None

    def _code_of(self, file: Path) -> CodeType:
        root = str(self._root)
        return bytecode.compiled(file.read_bytes(), str(file), root, is_durable=self._is_durable)


class _Loader(Loader):
    """Loads one module of the build."""

    def __init__(self, file: Path, code_of: Callable[[Path], CodeType], scope: LoadingScope) -> None:
        self._file = file
        self._code_of = code_of
        self._scope = scope

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave it to Python."""

    def exec_module(self, module: ModuleType) -> None:
        """Run the module's top level: nothing in it is a step, clock and chance are the session's."""
        code = self._code_of(self._file)
        leave = self._scope()
        try:
            exec(code, module.__dict__)
        finally:
            leave()

    def get_source(self, _fullname: str) -> str:
        """Return the source, for tracebacks and `inspect`."""
        return importlib.util.decode_source(self._file.read_bytes())

    def get_filename(self, _fullname: str) -> str:
        """Return the file, for `runpy` and `pkgutil`."""
        return str(self._file)

    def get_data(self, path: str) -> bytes:
        """Return the content of a file of the build, for `pkgutil.get_data`."""
        return Path(path).read_bytes()

    def get_resource_reader(self, _fullname: str) -> FileReader:
        """Return the reader of files in a package, for `importlib.resources`."""
        return FileReader(self)  # type: ignore[arg-type]

    @property
    def path(self) -> str:
        """The module's file, as `FileReader` wants it."""
        return str(self._file)


def _top_names(root: Path) -> Iterator[str]:
    for entry in root.iterdir():
        if entry.suffix == ".py" and entry.is_file():
            yield entry.stem
        elif (entry / "__init__.py").is_file():
            yield entry.name
