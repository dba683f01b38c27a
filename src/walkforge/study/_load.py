"""A preset's name or a YAML file, and overrides, to a checked study.

study = load("v8", ["data.symbols=[BTCUSDT]", "training.epochs=3"])
"""

import dataclasses
import types
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from walkforge.base import StudyError, UsageError, WalkforgeError, absolute_own, nearest

from ._gpt_study import GptStudy
from ._study import Study
from ._symbols import read_symbols


def preset_names() -> list[str]:
    """Return the names of the presets that Walkforge ships."""
    folder = files("walkforge.study") / "presets"
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir()
                  if item.name.endswith(".yaml"))  # fmt: skip


def preset_text(name: str) -> str:
    """Return a preset's YAML, comments included."""
    return (files("walkforge.study") / "presets" / f"{name}.yaml").read_text(encoding="utf-8")


def load(
    source: str | Path,
    overrides: Sequence[str] = (),
    *,
    bars: Path | None = None,
    symbols: Path | None = None,
) -> Study:
    """Return the study of a preset or file, with overrides such as `training.epochs=3`.

    `bars` is the venue's folder to read, whatever the study's source was; `symbols` a JSON or
    text file with the symbols to take.

    Raises StudyError that names the key's path, what was found and what is allowed.
    """
    plain = _plain_study(str(source))
    _place_own_parts(plain, str(source), Path(source).parent)
    for override in overrides:
        _override(plain, override)
    section = plain.setdefault("data", {})
    if isinstance(section, dict):
        if bars is not None:
            section.update(source="folder", bars=str(bars.resolve()))
        if symbols is not None:
            section["symbols"] = read_symbols(symbols)
    return from_plain(plain, str(source))


def plain_of_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """Return the plain data that overrides alone make."""
    plain: dict[str, Any] = {}
    for override in overrides:
        _override(plain, override)
    return plain


def from_plain(plain: dict[str, Any], source: str) -> Study:
    """Return the study of plain data; `source` stands in the messages."""
    kind = _kind_of(plain, source)
    _place_own_parts(plain, source, Path())
    _refuse_unknown_keys(plain, kind, source, "")
    try:
        return _ADAPTERS[kind].validate_python(plain)
    except ValidationError as error:
        raise StudyError(f"{source}: {_first_problem(error)}") from None
    except WalkforgeError as error:
        raise StudyError(f"{source}: {error}") from None


def as_yaml(study: Study) -> str:
    """Return the whole study with all defaults; `load` takes it back unchanged."""
    plain = _ADAPTERS[type(study)].dump_python(study, mode="json")
    return yaml.safe_dump(plain, sort_keys=False)


# Lax, as pydantic is by itself: `1` serves as a float and a YAML list as a tuple.
_ADAPTERS: dict[type[Study], TypeAdapter[Any]] = {
    kind: TypeAdapter(kind) for kind in (Study, GptStudy)
}


def _kind_of(plain: Any, source: str) -> type[Study]:
    """Return which kind of study plain data describe: the model's name tells."""
    model = plain.get("model") if isinstance(plain, dict) else None
    name = model.get("name") if isinstance(model, dict) else None
    kinds = {one: kind for kind in _ADAPTERS for one in _model_names(kind)}
    if isinstance(name, str) and name not in kinds:
        raise StudyError(
            f"{source}: model.name is {name!r}{nearest(name, kinds)}; choose {', '.join(kinds)}"
        )
    return kinds.get(name, Study) if isinstance(name, str) else Study


def _model_names(kind: type[Study]) -> tuple[str, ...]:
    return get_args(get_type_hints(get_type_hints(kind)["model"])["name"])


class _Loader(yaml.SafeLoader):
    """Plain YAML, but a date such as 2024-01-01 stays the text that it is."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _parse(text: str) -> Any:
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def _plain_study(source: str) -> dict[str, Any]:
    if source in preset_names():
        return _parse(preset_text(source)) or {}
    path = Path(source)
    if not path.exists() and path.suffix not in (".yaml", ".yml"):
        raise StudyError(
            f"no preset and no file named {source!r}{nearest(source, preset_names())}; presets: "
            f"{', '.join(preset_names())}"
        )
    return _read_yaml(path)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        plain = _parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StudyError(f"{path}: {error.strerror or error}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        place = getattr(error, "problem_mark", None)
        where = f" in line {place.line + 1}" if place else ""
        raise StudyError(f"{path}: not valid YAML{where}") from None
    if plain is not None and not isinstance(plain, dict):
        raise StudyError(f"{path}: expected sections such as `data:`, found {type(plain).__name__}")
    return plain or {}


def _place_own_parts(plain: Any, source: str, folder: Path) -> None:
    """Make the paths of own parts absolute: of a file's relative to it, else to where one is."""
    for name in ("features", "labels", "model"):
        section = plain.get(name) if isinstance(plain, dict) else None
        if isinstance(section, dict) and isinstance(section.get("own"), str):
            try:
                section["own"] = absolute_own(section["own"], folder, f"{name}.own")
            except UsageError as error:
                raise StudyError(f"{source}: {error}") from None


def _override(plain: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise StudyError(f"--set {override!r}: write it as section.key=value")
    for key in keys[:-1]:
        plain = plain.setdefault(key, {})
        if not isinstance(plain, dict):
            raise StudyError(f"--set {override!r}: {key} is a value and has no keys")
    try:
        plain[keys[-1]] = _parse(text)
    except yaml.YAMLError:
        raise StudyError(f"--set {override!r}: {text!r} is not a valid value") from None


def _refuse_unknown_keys(plain: Any, section: type, source: str, path: str) -> None:
    """Walk the sections; a key that no field has is refused with the nearest that one has."""
    if not isinstance(plain, dict):
        raise StudyError(f"{source}: {path or 'the study'} must hold keys, found {plain!r}")
    hints = get_type_hints(section)
    known = [item.name for item in dataclasses.fields(section)]
    for key, value in plain.items():
        if key not in known:
            raise StudyError(
                f"{source}: unknown key {_join(path, key)!r}{nearest(str(key), known)}; "
                f"{path or 'a study'} has {', '.join(known)}"
            )
        inner = _section_of(hints[key])
        if inner is not None and value is not None:
            _refuse_unknown_keys(value, inner, source, _join(path, key))


def _section_of(hint: Any) -> type | None:
    """Return the dataclass behind a field's type, if there is one."""
    choices = get_args(hint) if get_origin(hint) in (types.UnionType,) else (hint,)
    return next((c for c in choices if isinstance(c, type) and dataclasses.is_dataclass(c)), None)


def _join(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)


def _first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    path = ".".join(str(part) for part in problem["loc"])
    return f"{path} is {problem['input']!r}; {problem['msg'][:1].lower()}{problem['msg'][1:]}"
