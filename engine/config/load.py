"""Reading a config: a YAML file with `_base_`, overrides from the command line, strict checks, dumping the result."""

import dataclasses
import difflib
import math
import operator
import re
from collections.abc import Iterable, Iterator
from dataclasses import MISSING
from pathlib import Path
from typing import Any, NoReturn

import yaml

from engine.config.options import Config, options
from engine.errors import UserError
from engine.system.paths import expand_user

BASE_KEY = "_base_"
DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9]*|([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?)")
NOT_FINITE = re.compile(r"[-+]?\.(inf|nan)", re.IGNORECASE)


Origins = dict[tuple, Path | str]  # where a value comes from, by its path of keys: a file, or "-o key.sub=value"


class ConfigError(UserError):
    """A config cannot be used. `place` is the file, or the override as given on the command line."""


def load_config(file: str | Path, overrides: Iterable[str] = ()) -> Config:
    """Read a YAML config and its bases, apply overrides "key.sub=value", and check every value.

    Raises:
        ConfigError: names the file or override, the key, the value and the valid values.
    """
    file = Path(file)
    origins: Origins = {}
    tree = _read(file, origins, seen=())
    for override in overrides:
        _override(tree, override, origins)
    _refuse_unknown_keys(tree, origins, file)
    config = _build(Config, tree, (), origins, file)
    if not config.output_dir:
        config.output_dir = f"output/{file.stem}"
    return config


def dump_config(config: Config) -> str:
    """Return a config as YAML; `load_config` reads it back to an equal config."""
    return yaml.safe_dump(dataclasses.asdict(config), sort_keys=False, allow_unicode=True)


def flatten(config: Any) -> dict[str, Any]:
    """Return a config as a flat dict {"model.name": ...}."""
    flat: dict[str, Any] = {}
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        inner = flatten(value) if dataclasses.is_dataclass(value) else {"": value}
        flat.update({f"{item.name}.{key}" if key else item.name: value for key, value in inner.items()})
    return flat


class _NotDecimal(str):
    """A number as written, which YAML 1.1 reads as another one: 064 as 52, 1:30 as 90, 1_0 as 10."""

    read: float


class _Loader(yaml.SafeLoader):
    """Safe YAML that rejects duplicate keys, and reads no numbers but decimal ones."""

    def construct_number(self, node: yaml.ScalarNode) -> Any:
        is_int = node.tag == "tag:yaml.org,2002:int"
        number = self.construct_yaml_int(node) if is_int else self.construct_yaml_float(node)
        if DECIMAL.fullmatch(node.value) or NOT_FINITE.fullmatch(node.value):
            return number
        odd = _NotDecimal(node.value)
        odd.read = number
        return odd

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys: list[Any] = []
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if key in keys:
                raise yaml.constructor.ConstructorError(None, None, f"duplicate key {key!r}", key_node.start_mark)
            keys.append(key)
        return super().construct_mapping(node, deep)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_number)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_number)


def _parse(text: str, where: Path | str) -> Any:
    try:
        return yaml.load(text, _Loader)
    except (ValueError, KeyError, RecursionError) as error:  # an impossible date, or nesting too deep
        raise ConfigError(f"{where}: not valid YAML: {error}", place=where) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}:" if mark else ""
        problem = getattr(error, "problem", None) or "not readable"
        raise ConfigError(f"{where}:{line} not valid YAML: {problem}", place=where) from error


def _read(file: Path, origins: Origins, seen: tuple[Path, ...]) -> dict:
    """Return the tree of a file merged over its base's tree; record in `origins` which file a key comes from."""
    if file.resolve() in seen:
        chain = " -> ".join(path.name for path in (*seen, file))
        raise ConfigError(
            f"{seen[-1]}: {BASE_KEY} forms a cycle ({chain}): remove it from one of these files",
            key=BASE_KEY,
            value=chain,
            place=seen[-1],
        )
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        here = sorted(str(path) for path in file.parent.glob("*.yaml"))
        hint = f"; there is {', '.join(here)}" if here else ""
        raise ConfigError(f"{file}: no such config{hint}", place=file) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not readable as a config ({error})", place=file) from error
    tree = _parse(text, file)
    if not isinstance(tree, dict):
        raise ConfigError(f"{file}: a config is a mapping of keys to values, not {_kind(tree)}", value=tree, place=file)
    base = tree.pop(BASE_KEY, None)
    if base is not None and not isinstance(base, str):
        raise ConfigError(
            f"{file}: {BASE_KEY}: {base!r}, expected the path of one config, relative to this file",
            key=BASE_KEY,
            value=base,
            place=file,
        )
    try:
        below = _read(file.parent / expand_user(base), origins, (*seen, file.resolve())) if base else {}
    except ValueError as error:
        raise ConfigError(
            f"{file}: {BASE_KEY}: {base!r}, expected {error}", key=BASE_KEY, value=base, place=file
        ) from error
    return _merge(below, tree, origins, file, ())


def _merge(below: dict, above: dict, origins: Origins, where: Path | str, path: tuple) -> dict:
    merged = dict(below)
    for key, value in above.items():
        inner = (*path, key)
        if isinstance(value, dict) and isinstance(below.get(key), dict):
            merged[key] = _merge(below[key], value, origins, where, inner)
        else:
            merged[key] = value
            _note(origins, inner, value, where)
    return merged


def _note(origins: Origins, path: tuple, value: Any, where: Path | str) -> None:
    origins[path] = where
    if isinstance(value, dict):
        for key, inner in value.items():
            _note(origins, (*path, key), inner, where)


def _override(tree: dict, text: str, origins: Origins) -> None:
    key, equals, rest = text.partition("=")
    where = f"-o {text}"
    path = tuple(key.strip().split("."))
    if not equals or not all(path):
        raise ConfigError(f"{where}: expected key.sub=value, as in -o data.batch_size=32", place=where)
    value: Any = rest if _type_at(Config, path) is str else _parse(rest, where)
    for part in reversed(path):
        value = {part: value}
    tree.update(_merge(tree, value, origins, where, ()))


def _type_at(cls: Any, path: tuple[str, ...]) -> Any:
    """Return the type of the field at a path of keys, None if it does not exist."""
    types = {item.name: item.type for item in dataclasses.fields(cls)}
    found = types.get(path[0])
    if len(path) == 1 or not dataclasses.is_dataclass(found):
        return found if len(path) == 1 else None
    return _type_at(found, path[1:])


def _refuse_unknown_keys(tree: dict, origins: Origins, file: Path) -> None:
    """Raise one ConfigError for all unknown keys; its fields are those of the first."""
    errors = []
    for path, value, fields in _unknown(Config, tree, ()):
        name, where = ".".join(map(str, path)), origins.get(path, file)
        meant = _meant(path, fields)
        hint = f"did you mean {meant}? " if meant else ""
        text = f"{where}: unknown key {name}: {hint}valid here: {', '.join(fields)}"
        errors.append(ConfigError(text, key=name, value=value, place=where))
    if errors:
        first = errors[0]
        raise ConfigError("; ".join(map(str, errors)), key=first.key, value=first.value, place=first.place)


def _unknown(cls: Any, tree: dict, path: tuple) -> Iterator[tuple[tuple, Any, list[str]]]:
    """Yield (path of keys, value, the valid keys there) of all keys that do not exist."""
    types = {item.name: item.type for item in dataclasses.fields(cls)}
    for key, value in tree.items():
        if key not in types:
            yield (*path, key), value, list(types)
        elif dataclasses.is_dataclass(types[key]) and isinstance(value, dict):
            yield from _unknown(types[key], value, (*path, key))


def _meant(path: tuple, fields: list[str]) -> str | None:
    """Return the option that an unknown key may stand for: a near name, initials (lr), or one of another section."""
    *section, key = map(str, path)
    if close := difflib.get_close_matches(key, fields, n=1) or [name for name in fields if _initials(name) == key]:
        return ".".join((*section, close[0]))
    names = {option: option.rpartition(".")[2] for option in options()}
    return next((option for option, name in names.items() if key in (name, _initials(name))), None)


def _initials(name: str) -> str | None:
    words = name.split("_")
    return "".join(word[0] for word in words) if len(words) > 1 else None


def _build(cls: Any, tree: dict, path: tuple, origins: Origins, file: Path) -> Any:
    fields = {item.name: item for item in dataclasses.fields(cls)}
    values: dict[str, Any] = {}
    for name, item in fields.items():
        inner, dotted = (*path, name), ".".join((*path, name))
        if dataclasses.is_dataclass(item.type):
            subtree = tree.get(name, {})
            if not isinstance(subtree, dict):
                where = origins.get(inner, file)
                raise ConfigError(
                    f"{where}: {dotted}: {subtree!r}, expected keys below it, as in {dotted}.key: value",
                    key=dotted,
                    value=subtree,
                    place=where,
                )
            values[name] = _build(item.type, subtree, inner, origins, file)
        elif name in tree:
            values[name] = _checked(item, tree[name], dotted, origins.get(inner, file))
        elif item.default is MISSING:
            raise ConfigError(
                f"{file}: {dotted} is missing: add it, or start from `{BASE_KEY}: tiny_cifar10.yaml`",
                key=dotted,
                place=file,
            )
    return cls(**values)


def _checked(item: dataclasses.Field, value: Any, dotted: str, where: Path | str) -> Any:
    """Return a valid value as the field's type."""

    def refuse(expected: str) -> NoReturn:
        raise ConfigError(f"{where}: {dotted}: {value!r}, expected {expected}", key=dotted, value=value, place=where)

    valid, wanted = item.metadata, item.type
    names: dict[Any, str] = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    if isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):  # bytes of an odd file name
        refuse("text in UTF-8")
    if isinstance(value, _NotDecimal):
        refuse("text in quotes" if wanted is str else f"a decimal number (YAML reads {value} as {value.read})")
    if wanted is float and isinstance(value, str):
        if not DECIMAL.fullmatch(value):
            refuse("a number")
        value = float(value)  # PyYAML reads 1e-4 as text
    if wanted is float and type(value) is int and abs(value) < 1e300:
        value = float(value)
    if type(value) is not wanted or (wanted is float and not math.isfinite(value)):
        refuse(names[wanted])
    if valid["path"]:
        try:
            value = expand_user(value)
        except ValueError as error:
            refuse(str(error))
    if valid["pattern"]:
        if not re.fullmatch(valid["pattern"], value):
            refuse(f"one of {', '.join(valid['choices'])}")
    elif valid["choices"] and value not in valid["choices"]:
        close = difflib.get_close_matches(value, valid["choices"], n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        refuse(f"one of {', '.join(valid['choices'])}{hint}")
    bounds: dict[str, Any] = {"above": operator.gt, "low": operator.ge, "below": operator.lt, "high": operator.le}
    if not all(valid[name] is None or within(value, valid[name]) for name, within in bounds.items()):
        words = {"above": "above {}", "low": "{} or more", "below": "below {}", "high": "{} or less"}
        refuse(" and ".join(text.format(valid[name]) for name, text in words.items() if valid[name] is not None))
    return value


def _kind(value: object) -> str:
    kinds = {type(None): "nothing", list: "a list", str: "text"}
    return kinds.get(type(value), type(value).__name__)
