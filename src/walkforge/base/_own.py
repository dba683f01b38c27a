"""A user's own function, named as `PATH.py:NAME`, with the digest of the file that it stands in.

The file is run only when a study, a prediction or an audit needs the function, and what is run are
the very bytes that the digest is of.
"""

import hashlib
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import module_from_spec
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from ._errors import UsageError, WalkforgeError
from ._names import nearest


@dataclass(frozen=True, slots=True)
class OwnPart:
    """A user's function and where it came from; equal where file, name and bytes are."""

    path: Path
    name: str
    digest: str
    """SHA-256 of the file's bytes, hex."""
    source: bytes = field(compare=False, repr=False)
    """These bytes."""
    function: Callable[..., Any] = field(compare=False, repr=False)
    error: type[WalkforgeError] = field(compare=False, repr=False)
    """What a failure in the user's code becomes."""

    @property
    def text(self) -> str:
        """Return `PATH.py:NAME`."""
        return f"{self.path}:{self.name}"

    @property
    def title(self) -> str:
        """Return `FILE.py:NAME`, as messages name it."""
        return f"{self.path.name}:{self.name}"

    def __call__(self, *arguments: Any) -> Any:
        """Call it; an error in it becomes one line with file and line number."""
        try:
            return self.function(*arguments)
        except (Exception, SystemExit) as problem:
            raise self.failure(problem, self.name) from problem

    def failure(self, problem: BaseException, what: str) -> WalkforgeError:
        """Return an error in the user's code, in the function `what`, as one line."""
        words = f"{self.path.name}:{what} failed"
        return self.error(_told(problem, self.path, words))

    def as_dict(self) -> dict[str, str]:
        """Return plain data for `run.json` and bundles."""
        return {"own": self.text, "sha256": self.digest}


def split_own(text: str, key: str) -> tuple[Path, str]:
    """Return path and name of `PATH.py:NAME`; raise UsageError naming `key` for anything else."""
    path, colon, name = text.rpartition(":")
    if not colon or not path.endswith(".py") or not name.isidentifier():
        raise UsageError(
            f"{key} is {text!r}; expected a Python file and a function in it, such as "
            "my_parts.py:make"
        )
    return Path(path), name


def absolute_own(text: str, folder: Path, key: str) -> str:
    """Return `PATH.py:NAME` with an absolute path; one that is not is relative to `folder`."""
    path, name = split_own(text, key)
    return f"{(folder / path.expanduser()).resolve()}:{name}"


def load_own(text: str, key: str, error: type[WalkforgeError] = UsageError) -> OwnPart:
    """Run the file of `PATH.py:NAME` and return the function NAME of it.

    `key` is what names it: a study's key or an option. A file is run once for each of its
    contents. Raises UsageError where there is no such file or function, and `error` with file and
    line number where the file's own code fails.
    """
    path, name = split_own(text, key)
    path = path.expanduser().resolve()
    try:
        source = path.read_bytes()
    except OSError as problem:
        raise UsageError(f"{key}: {path}: {problem.strerror or problem}") from None
    try:
        module = _module(str(path), source)
    except (Exception, SystemExit) as problem:
        raise error(_told(problem, path, f"{path.name} cannot be loaded")) from problem
    function = getattr(module, name, None)
    if not callable(function):
        known = [n for n, one in vars(module).items() if callable(one) and not n.startswith("_")]
        raise UsageError(
            f"{key}: {path.name} has no function {name!r}{nearest(name, known)}; it has "
            f"{', '.join(known) or 'none'}"
        )
    return OwnPart(path, name, hashlib.sha256(source).hexdigest(), source, function, error)


class _Loader(SourceFileLoader):
    """Runs given bytes: a compiled copy of older ones might lie beside the file."""

    def __init__(self, name: str, path: str, source: bytes) -> None:
        super().__init__(name, path)
        self.source = source

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.source, self.path)


@lru_cache(maxsize=32)
def _module(path: str, source: bytes) -> ModuleType:
    name = f"walkforge_own_{hashlib.sha256(path.encode() + source).hexdigest()[:16]}"
    spec = ModuleSpec(name, _Loader(name, path, source), origin=path)
    spec.has_location = True
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        assert spec.loader is not None
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _told(problem: BaseException, path: Path, what: str) -> str:
    """Return an error as one line that begins with the place in the user's file."""
    words = str(problem).strip().split("\n", 1)[0]
    return f"{_place(problem, path)}: {what}: {type(problem).__name__}" + (
        f": {words}" if words else ""
    )


def _place(problem: BaseException, path: Path) -> str:
    """Return `PATH:LINE` of the innermost line of the user's file that an error went through."""
    if isinstance(problem, SyntaxError) and problem.filename == str(path):
        return f"{path}:{problem.lineno}"
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(problem.__traceback__)
        if frame.filename == str(path)
    ]
    return f"{path}:{lines[-1]}" if lines else str(path)
