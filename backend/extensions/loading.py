"""How an extension's module is imported, held against the hooks there are, and dropped again."""

import functools
import importlib.metadata
import importlib.util
import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import pluggy
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from backend.errors import UserError, unknown_name
from backend.extension_api import API_VERSION, PROJECT, Hooks
from backend.extensions.extension import Extension, HookImpl
from backend.extensions.manifest import Manifest

PACKAGE = "atelier_extensions"  # in which every extension's module lies
PACKAGES = "extensions-packages"  # in the data folder: what extensions depend on
MARK = f"{PROJECT}_impl"
HOOKS = frozenset(name for name in vars(Hooks) if not name.startswith("_"))
# What pluggy knows besides, and means nothing where the order is declared in the manifest.
UNUSED = ("hookwrapper", "wrapper", "tryfirst", "trylast", "optionalhook")


class _FreshLoader(SourceFileLoader):
    """Reads the source each time: what was written to a cache within the same second would be run instead of it, and
    nothing is written into an extension's folder."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return _compiled(self.get_data(path), path)


@functools.lru_cache(maxsize=256)
def _compiled(source: bytes, path: str) -> CodeType:
    return compile(source, path, "exec", dont_inherit=True)


class _Finder:
    """Finds the modules within extensions."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if not name.startswith(f"{PACKAGE}.") or path is None:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _FreshLoader(name, spec.loader.path)
        return spec


def check_api(manifest: Manifest, version: str = API_VERSION) -> None:
    """Raises `UserError` where this Atelier is not one that the extension was written for."""
    if version not in SpecifierSet(manifest.api):
        raise UserError(
            f"{manifest.name} {manifest.version} is written for the extension interface {manifest.api}; this Atelier "
            f"has {version}: look for another version of it, or of Atelier."
        )


def check(manifest: Manifest, version: str = API_VERSION) -> None:
    """Raises `UserError` where this Atelier is not one that the extension was written for, or a dependency is
    missing."""
    check_api(manifest, version)
    if missing := missing_dependencies(manifest):
        raise UserError(
            f"{manifest.name} needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed: "
            "see it in Extensions, where it can be installed."
        )


def missing_dependencies(manifest: Manifest) -> list[str]:
    """Of the packages that an extension needs those that are not there, or not in a version that it takes."""
    missing = []
    for text in manifest.dependencies:
        needed = Requirement(text)
        if needed.marker is not None and not needed.marker.evaluate():
            continue
        try:
            there = importlib.metadata.version(needed.name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(text)
            continue
        if not needed.specifier.contains(there, prereleases=True):
            missing.append(f"{text} ({there} is there)")
    return missing


def add_packages(data_dir: Path) -> None:
    """Let what extensions depend on be imported; what Atelier depends on comes first."""
    folder = str(data_dir / PACKAGES)
    if Path(folder).is_dir() and folder not in sys.path:
        sys.path.append(folder)
        importlib.invalidate_caches()


def import_module(extension: Extension) -> ModuleType:
    """Run the extension's module. Raises whatever that raises; then it is not there."""
    name = f"{PACKAGE}.{extension.id}"
    path = extension.folder / "__init__.py"
    if not path.is_file():
        if extension.manifest is not None and extension.manifest.js:  # all that it does it does in the browser
            return ModuleType(name)
        raise UserError(f"there is no {path.name} in its folder {extension.folder.name}.")
    _prepare()
    drop_modules(name)
    loader = _FreshLoader(name, str(path))
    spec = importlib.util.spec_from_file_location(
        name, path, loader=loader, submodule_search_locations=[str(extension.folder)]
    )
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        loader.exec_module(module)
    except BaseException:
        drop_modules(name, module)
        raise
    return module


def drop_modules(name: str, module: ModuleType | None = None) -> None:
    """Forget a module and those within it, so that they are read anew; only if it is still `module`, where given."""
    if module is not None and sys.modules.get(name) is not module:
        return  # another Atelier in this process has an extension of the same id
    for each in tuple(sys.modules):
        if each == name or each.startswith(f"{name}."):
            sys.modules.pop(each, None)
    importlib.invalidate_caches()


def _prepare() -> None:
    if PACKAGE not in sys.modules:
        package = ModuleType(PACKAGE)
        package.__path__ = []
        sys.modules[PACKAGE] = package
    if _Finder not in sys.meta_path:
        sys.meta_path.insert(0, _Finder)


def hooks_of(module: ModuleType, id: str) -> Mapping[str, Sequence[HookImpl]]:
    """The module's hooks by name. Raises `UserError` for one that Atelier does not have, for arguments that it is not
    handed, and for what a hook cannot be."""
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(Hooks)
    impls = {name: (_impl(name, value, manager),) for name, value in _marked(module)}
    if not impls:
        return {}
    try:
        manager.register(module, name=id)
    except pluggy.PluginValidationError as error:  # what is not said in our own words above
        raise UserError(f"{' '.join(str(error).split())}.") from error
    return impls


def _marked(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """The functions below ``@hook``. Raises `UserError` for one that no stage is called like, and for a function that
    is called like a stage and does not stand below it."""
    for name, value in vars(module).items():
        options = getattr(value, MARK, None) if inspect.isroutine(value) else None
        if options is None:
            if name in HOOKS and isinstance(value, FunctionType) and value.__module__.startswith(module.__name__):
                raise UserError(f"its function {name} does not stand below @hook.")
            continue
        if used := [option for option in UNUSED if options.get(option)]:
            raise UserError(
                f"its hook {name} asks for {', '.join(used)}, which is not there: the manifest says with before and "
                "after whose turn comes first."
            )
        if options.get("specname") or name not in HOOKS:
            raise UserError(unknown_name("hook", options.get("specname") or name, sorted(HOOKS)))
        yield name, value


def _impl(name: str, function: Any, manager: pluggy.PluginManager) -> HookImpl:
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise UserError(f"its hook {name} is a coroutine or a generator: it must be a plain function.")
    spec = getattr(manager.hook, name).spec
    wanted = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise UserError(f"its hook {name} takes *{parameter.name}: arguments are named one by one.")
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise UserError(f"its hook {name} takes {parameter.name} by position only: arguments go by name.")
        if parameter.name in spec.argnames:
            wanted.append(parameter.name)
        elif parameter.default is parameter.empty:
            raise UserError(f"its hook {name}: {unknown_name('argument', parameter.name, spec.argnames)}")
    return HookImpl(name=name, function=function, argnames=tuple(wanted))
