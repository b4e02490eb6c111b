"""Configuration: frozen nested dataclasses that go to YAML, come back strictly, and become command-line flags.

A configuration is a frozen dataclass whose fields are values (numbers, texts, booleans, ``Literal`` choices,
tuples of these, any of them ``| None``) or further such dataclasses. A field is named by its dotted path,
``model.hidden_size``. Reading is strict: an unknown key names the nearest known one, and a wrong value says
what is allowed, both with file and line.

Every value, from a file or from a flag, is converted by tyro from its text, so that ``1e-3`` in YAML (a string
to PyYAML) is a number here, and both ways in accept the same things. Precedence is defaults < YAML < flags,
settled in one tyro parse: see :func:`parse`. Nothing here imports torch.
"""

import contextlib
import dataclasses
import difflib
import io
import os
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from tenfold.core.errors import UserError
from tenfold.core.files import finite_or_none

ConfigType = TypeVar("ConfigType")
MOST_YAML_NODES = 100_000
"""Keys and values of a YAML file, each counted as often as it is referred to."""


@dataclass(frozen=True)
class Setting:
    """One value found outside the code, still as text, with the place it came from.

    Args:
        field: the dotted field name.
        texts: the value as a command line would spell it: one text, one for each element of a list, or none for an
            empty mapping.
        is_list: whether the value was a list (an empty or one-element list is not a single value).
        where: the place to name in messages, such as ``my.yaml:7``.
    """

    field: str
    texts: tuple[str, ...]
    is_list: bool
    where: str


def leaves(config: object) -> dict[str, object]:
    """The values of a configuration by dotted field name, in the order of the fields.

    Example:
        >>> @dataclass(frozen=True)
        ... class Model:
        ...     width: int = 8
        >>> @dataclass(frozen=True)
        ... class Config:
        ...     model: Model = Model()
        ...     steps: int = 5
        >>> leaves(Config())
        {'model.width': 8, 'steps': 5}
    """
    found: dict[str, object] = {}
    for field in dataclasses.fields(typing.cast(Any, config)):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            found |= {f"{field.name}.{name}": leaf for name, leaf in leaves(value).items()}
        else:
            found[field.name] = value
    return found


def leaf_types(config_type: type) -> dict[str, Any]:
    """The type of each value of a configuration class by dotted field name."""
    hints = typing.get_type_hints(config_type)
    found: dict[str, Any] = {}
    for field in dataclasses.fields(config_type):
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint):
            nested = leaf_types(typing.cast(type, hint))
            found |= {f"{field.name}.{name}": leaf for name, leaf in nested.items()}
        else:
            found[field.name] = hint
    return found


def to_plain(config: object) -> dict[str, Any]:
    """The configuration as nested dictionaries of JSON values (tuples become lists, paths become texts)."""
    return {field.name: _plain(getattr(config, field.name)) for field in dataclasses.fields(typing.cast(Any, config))}


def field_values(config: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a configuration that is plain data, by dotted field name.

    Example:
        >>> field_values({"model": {"width": 8}, "steps": 5})
        {'model.width': 8, 'steps': 5}
    """
    found: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            found |= {f"{name}.{inner}": leaf for inner, leaf in field_values(value).items()}
        else:
            found[name] = finite_or_none(value)
    return found


def to_yaml(config: object) -> str:
    """The configuration as YAML, fields in their own order; :func:`from_yaml` reads it back unchanged."""
    return yaml.safe_dump(to_plain(config), sort_keys=False, allow_unicode=True, width=120)


def from_plain(config_type: type[ConfigType], data: Mapping[str, Any], where: str = "configuration") -> ConfigType:
    """The configuration that nested plain data describes; fields left out keep their default.

    Args:
        config_type: the configuration class.
        data: nested dictionaries as :func:`to_plain` makes them.
        where: what to call the data in messages.

    Raises:
        UserError: a key is unknown, a field without default is missing, or a value is not allowed.

    Example:
        >>> @dataclass(frozen=True)
        ... class Config:
        ...     rate: float = 0.1
        >>> from_plain(Config, {"rate": "1e-3"})
        Config(rate=0.001)
    """
    return _build(config_type, list(_settings_of_plain(data, "", where)), where)


def from_yaml(config_type: type[ConfigType], path: Path) -> ConfigType:
    """The configuration in a YAML file such as a run's ``config.yaml``; errors as in :func:`from_plain`, with line."""
    return _build(config_type, read_settings(path), str(path))


def read_settings(path: Path) -> list[Setting]:
    """The settings in a YAML file, each with its line; the file need not name every field.

    Raises:
        UserError: the file is missing, is not YAML in UTF-8, is not a mapping, or has a mapping inside a list.
    """
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    except (UnicodeDecodeError, yaml.reader.ReaderError):
        raise UserError(f"{path}: not YAML: allowed is printable text in UTF-8") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UserError(f"{path}:{line}: not YAML: {error.problem}") from None
    except RecursionError:
        raise UserError(f"{path}: nests too deep; a configuration is groups of fields with values") from None
    if root is None:
        return []
    _refuse_endless(root, path)
    if not isinstance(root, yaml.MappingNode):
        found = "a list" if isinstance(root, yaml.SequenceNode) else repr(root.value)
        place = f"{path}:{root.start_mark.line + 1}"
        raise UserError(f"{place}: a configuration is a mapping of field names to values, not {found}")
    return list(_settings_of_node(root, "", path))


def _refuse_endless(root: yaml.Node, path: Path) -> None:
    """Refuse what refers to itself, or to so much of itself that reading it would not end."""
    waiting, seen = [root], 0
    while waiting:
        node, seen = waiting.pop(), seen + 1
        if seen > MOST_YAML_NODES:
            raise UserError(
                f"{path}: refers to itself, or has over {MOST_YAML_NODES:,} values; a configuration has some hundreds"
            )
        if isinstance(node, yaml.MappingNode):
            waiting += [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value


def convert_settings(config_type: type, settings: Iterable[Setting]) -> dict[str, Any]:
    """The values of settings by field, each converted to the type of its field.

    Raises:
        UserError: a key is unknown or set twice, or a value is not allowed; the message begins with the place.
    """
    types_by_field = leaf_types(config_type)
    values: dict[str, Any] = {}
    for setting in settings:
        if _is_empty_group(setting, types_by_field):
            continue
        if setting.field not in types_by_field:
            raise UserError(f"{setting.where}: {_unknown_key(setting.field, types_by_field)}")
        if setting.field in values:
            raise UserError(f"{setting.where}: {setting.field} is set twice")
        values[setting.field] = _convert(setting, types_by_field[setting.field])
    return values


def parse(
    command_type: type[ConfigType],
    *,
    default: ConfigType,
    config: object,
    yaml_path: Path | None,
    arguments: Sequence[str],
    prog: str,
    description: str | None = None,
) -> ConfigType:
    """Read a command with its configuration in one tyro parse: ``default`` < YAML file < ``arguments``.

    Args:
        command_type: the dataclass of the command; the configuration is a field of it that is annotated with
            ``tyro.conf.arg(name="")``, so that its flags have no prefix.
        default: the command with every field at its default.
        config: the configuration inside ``default``; its class says which keys a YAML file may have.
        yaml_path: a file of settings, or ``None``.
        arguments: the user's flags; they come last and win.
        prog: the command as the user typed it, for help texts.
        description: the first lines of the help text.

    Raises:
        UserError: the YAML file has an unknown key or a value that is not allowed.
        SystemExit: a flag is wrong (status 2, after tyro has printed its suggestion) or help was asked for (0).
    """
    import tyro

    flags = _flags(type(config), read_settings(yaml_path)) if yaml_path is not None else []
    return tyro.cli(command_type, default=default, args=[*flags, *arguments], prog=prog, description=description)


def as_flags(config_type: type, data: Mapping[str, Any], where: str = "configuration") -> list[str]:
    """The words that a user would type for some settings.

    Args:
        config_type: the configuration class.
        data: nested dictionaries, of as many fields as are to be set.
        where: what to call the data in messages.

    Raises:
        UserError: a key is unknown, or a value is not allowed.

    Example:
        >>> @dataclass(frozen=True)
        ... class Config:
        ...     rate: float = 0.1
        ...     averaged: bool = True
        >>> as_flags(Config, {"rate": 1e-3, "averaged": False})
        ['--rate=0.001', '--no-averaged']
    """
    return _flags(config_type, list(_settings_of_plain(data, "", where)))


def _flags(config_type: type, settings: Sequence[Setting]) -> list[str]:
    convert_settings(config_type, settings)  # for messages with the place; the values that count are tyro's
    types_by_field = leaf_types(config_type)
    valued = [setting for setting in settings if not _is_empty_group(setting, types_by_field)]
    return [text for setting in valued for text in _flag(setting, types_by_field[setting.field])]


def differences(before: object, after: object) -> dict[str, tuple[object, object]]:
    """The fields in which two configurations of one class differ, each with both values."""
    old, new = leaves(before), leaves(after)
    return {name: (old[name], new[name]) for name in old if old[name] != new[name]}


def refuse_idle(settings: object, names: Iterable[str], acts: str) -> None:
    """Refuse fields that do nothing where they stand, unless they are at their default.

    A default says nothing, so it may stay; any other value would look as if it did something. The default is that of
    the field in its own class, or what the default of a group that holds it says.

    Args:
        settings: a configuration, or a part of one.
        names: dotted fields that do not act; a group of fields stands for all that it holds.
        acts: what the user has to set instead.

    Raises:
        UserError: naming the first such field with its value, ``acts``, and the value at which the field may stay.

    Example:
        >>> @dataclass(frozen=True)
        ... class Adapters:
        ...     rank: int = 0
        ...     dropout: float = 0.0
        >>> refuse_idle(Adapters(), ["dropout"], acts="rank")
        >>> refuse_idle(Adapters(dropout=0.1), ["dropout"], acts="rank")
        Traceback (most recent call last):
        tenfold.core.errors.UserError: dropout = 0.1: does not act here; set rank, or leave it at 0.0
    """
    for name in names:
        value: Any = settings
        for part in name.split("."):
            value = getattr(value, part)
        if dataclasses.is_dataclass(value):
            refuse_idle(settings, [f"{name}.{field.name}" for field in dataclasses.fields(value)], acts)
        elif value not in (defaults := _defaults_of(settings, name)):
            unset = f", or leave it at {defaults[-1]!r}" if defaults else ""
            raise UserError(f"{name} = {value}: does not act here; set {acts}{unset}")


def _defaults_of(settings: object, name: str) -> list[Any]:
    """What a dotted field is when nobody sets it: in its own class, and in the classes that hold its groups."""
    found = []
    holder: Any = settings
    parts = name.split(".")
    for i, part in enumerate(parts):
        (field,) = (field for field in dataclasses.fields(holder) if field.name == part)
        default = _default(field)
        if default is not dataclasses.MISSING:
            for inner in parts[i + 1 :]:
                default = getattr(default, inner)
            found.append(default)
        holder = getattr(holder, part)
    return found


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of an error message about an unknown name: the nearest known one, or all of them.

    Example:
        >>> nearest("hmr", ["hrm", "msa"])
        'did you mean hrm?'
    """
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else f"known: {', '.join(names)}"


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_plain(value)
    if isinstance(value, list | tuple):
        return [_plain(element) for element in value]
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _settings_of_plain(data: Any, prefix: str, where: str) -> Iterable[Setting]:
    if not isinstance(data, Mapping):
        raise UserError(f"{where}: a configuration is a mapping of field names to values, not {data!r}")
    for key, value in data.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _settings_of_plain(value, f"{name}.", where) if value else [Setting(name, (), False, where)]
        elif isinstance(value, list | tuple):
            yield Setting(name, tuple(_flatten(value, f"{where}: {name}")), True, where)
        else:
            yield Setting(name, (str(value),), False, where)


def _flatten(values: Iterable[Any], place: str) -> Iterable[str]:
    for value in values:
        if isinstance(value, Mapping):
            raise UserError(f"{place} has a mapping in a list; allowed there: single values")
        if isinstance(value, list | tuple):
            yield from _flatten(value, place)
        else:
            yield str(value)


def _settings_of_node(node: yaml.MappingNode, prefix: str, path: Path) -> Iterable[Setting]:
    for key, value in node.value:
        where = f"{path}:{key.start_mark.line + 1}"
        if not isinstance(key, yaml.ScalarNode):
            raise UserError(f"{where}: a field name is a word, not a list or a mapping")
        name = f"{prefix}{key.value}"
        if isinstance(value, yaml.MappingNode) and value.value:
            yield from _settings_of_node(value, f"{name}.", path)
        elif isinstance(value, yaml.MappingNode):
            yield Setting(name, (), False, where)
        else:
            yield Setting(name, tuple(_texts(value, f"{where}: {name}")), isinstance(value, yaml.SequenceNode), where)


def _texts(node: yaml.Node, place: str) -> Iterable[str]:
    """The texts of a YAML scalar or (nested) list, as written."""
    if isinstance(node, yaml.MappingNode):
        raise UserError(f"{place} has a mapping in a list; allowed there: single values")
    if isinstance(node, yaml.SequenceNode):
        for element in node.value:
            yield from _texts(element, place)
    else:
        yield node.value


def _is_empty_group(setting: Setting, known: Mapping[str, Any]) -> bool:
    """Whether the setting is a group of fields of which none is set."""
    is_empty = not setting.texts and not setting.is_list
    return is_empty and any(name.startswith(f"{setting.field}.") for name in known)


def _unknown_key(field: str, known: Mapping[str, Any]) -> str:
    for name, kind in known.items():
        if field.startswith(f"{name}."):
            return f"{name} is a value, not a group of fields; allowed: {_allowed(kind)}"
    if any(name.startswith(f"{field}.") for name in known):
        return f"{field} is a group of fields, not a value; its fields are " + ", ".join(
            name for name in known if name.startswith(f"{field}.")
        )
    return f"unknown key {field}; {nearest(field, known)}"


def _convert(setting: Setting, kind: Any) -> Any:
    """The value of a setting as its field's type, by tyro's rules."""
    import tyro

    spelt = _spell(setting, kind)
    wants_list = any(typing.get_origin(option) is tuple for option in _options(kind))
    is_mapping = not setting.texts and not setting.is_list
    if (setting.is_list == wants_list and not is_mapping) or spelt.texts == ("None",):
        positional: Any = typing.Annotated[kind, tyro.conf.Positional]
        # tyro prints a value error even when its output is switched off
        with contextlib.suppress(SystemExit), contextlib.redirect_stderr(io.StringIO()):
            return tyro.cli(positional, args=["--", *spelt.texts], console_outputs=False)
    value = f"[{', '.join(setting.texts)}]" if setting.is_list else "{}" if is_mapping else repr(setting.texts[0])
    raise UserError(f"{setting.where}: {setting.field} is {value}; allowed: {_allowed(kind)}")


def _spell(setting: Setting, kind: Any) -> Setting:
    """The setting with YAML's words for booleans, null and infinity as tyro spells them."""
    options = _options(kind)

    def spell(text: str) -> str:
        word = text.lower()
        if types.NoneType in options and word in ("null", "none", "~", ""):
            return "None"
        if bool in options and word in ("true", "yes", "on", "false", "no", "off"):
            return str(word in ("true", "yes", "on"))
        return text.replace(".", "") if float in options and word.lstrip("+-") in (".inf", ".nan") else text

    return dataclasses.replace(setting, texts=tuple(spell(text) for text in setting.texts))


def _flag(setting: Setting, kind: Any) -> list[str]:
    """A setting as the words a user would type for it."""
    spelt = _spell(setting, kind)
    if kind is bool:
        group, _, name = setting.field.rpartition(".")
        switch = name if spelt.texts == ("True",) else f"no-{name}"
        return [f"--{group}.{switch}" if group else f"--{switch}"]
    if setting.is_list:
        return [f"--{setting.field}", *spelt.texts]
    return [f"--{setting.field}={spelt.texts[0]}"]


def _options(kind: Any) -> tuple[Any, ...]:
    """The members of a union, or the type itself."""
    is_union = typing.get_origin(kind) in (typing.Union, types.UnionType)
    return typing.get_args(kind) if is_union else (kind,)


def _allowed(kind: Any) -> str:
    """The values that a field's type allows, in words."""
    words = {bool: "true or false", int: "an integer", float: "a number", str: "a text", Path: "a path"}
    words[types.NoneType] = "null"
    options = _options(kind)
    if len(options) > 1:
        return " or ".join(_allowed(option) for option in options)
    if typing.get_origin(kind) is typing.Literal:
        return "one of " + ", ".join(str(choice) for choice in typing.get_args(kind))
    if typing.get_origin(kind) is tuple:
        elements = typing.get_args(kind)
        if elements[-1] is Ellipsis:
            return f"a list, each element {_allowed(elements[0])}"
        return f"a list of {len(elements)}: " + ", ".join(_allowed(element) for element in elements)
    return words.get(kind, str(kind))


def _build(config_type: type[ConfigType], settings: Sequence[Setting], where: str) -> ConfigType:
    values = convert_settings(config_type, settings)
    try:
        return typing.cast(ConfigType, _construct(config_type, values, "", where, base=None))
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None


def _construct(config_type: type, values: Mapping[str, Any], prefix: str, where: str, base: object | None) -> Any:
    """An instance from dotted values; what they leave out comes from ``base`` or from the field's own default."""
    hints = typing.get_type_hints(config_type)
    arguments = {}
    for field in dataclasses.fields(config_type):
        name = f"{prefix}{field.name}"
        default = _default(field) if base is None else getattr(base, field.name)
        is_given = any(given == name or given.startswith(f"{name}.") for given in values)
        if default is dataclasses.MISSING and not is_given:
            raise UserError(f"{where}: {name} is missing")
        if dataclasses.is_dataclass(hints[field.name]):
            nested_base = None if default is dataclasses.MISSING else default
            arguments[field.name] = _construct(hints[field.name], values, f"{name}.", where, nested_base)
        else:
            arguments[field.name] = values.get(name, default)
    return config_type(**arguments)


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
