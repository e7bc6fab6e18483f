"""YAML files and `--set KEY=VALUE` onto a pydantic configuration; a mistake is named with its key and the near ones."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from goldpanner.errors import InputError

Config = TypeVar("Config", bound=BaseModel)


def load_settings(
    kind: type[Config],
    file: Path | None = None,
    overrides: Sequence[str] = (),
    *,
    preset: Mapping[str, object] | None = None,
    **given: Any,
) -> Config:
    """Return a configuration: defaults, then `preset` (values by dotted key), then `file` (YAML), then `given`
    keywords, then `KEY=VALUE` overrides.

    Keys of overrides are dotted (`grpo.steps=10`), values are YAML. Raises InputError for a file that cannot be read,
    an override without `=`, an unknown key (near ones are named), or a value out of its range.
    """
    tree: dict[str, object] = {}
    for key, value in (preset or {}).items():
        _put(tree, key, value)
    if file is not None:
        _merge(tree, read_yaml(file))
    for key, value in given.items():
        if value is not None:
            _put(tree, key, value)
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key.strip():
            raise InputError(f"--set {override!r} is not KEY=VALUE; write, say, --set grpo.steps=10")
        try:
            _put(tree, key.strip(), yaml.safe_load(text))
        except yaml.YAMLError as error:
            raise InputError(f"--set {override!r}: the value is not YAML ({error}); quote it") from error
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        raise InputError(_explain(error, kind)) from error


def read_yaml(file: Path) -> dict[str, object]:
    """Return the mapping in a YAML file; raises InputError when it cannot be read or is no mapping."""
    try:
        tree = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"configuration file {str(file)!r} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise InputError(f"configuration file {str(file)!r} is not YAML: {error}") from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise InputError(f"configuration file {str(file)!r} holds a {type(tree).__name__}; write KEY: VALUE lines")
    return tree


def differences(one: BaseModel, other: BaseModel) -> list[str]:
    """Return the dotted keys whose values differ, in the order of the fields, as `key: this -> that`."""
    left, right = dict(_leaves(one.model_dump(mode="json"))), dict(_leaves(other.model_dump(mode="json")))
    keys = dict.fromkeys([*left, *right])
    return [f"{k}: {left.get(k)!r} -> {right.get(k)!r}" for k in keys if left.get(k) != right.get(k)]


def reference(kind: type[BaseModel], prefix: str = "", preset: BaseModel | None = None) -> list[tuple[str, str, str]]:
    """Return (dotted key, default, description) of every field of a configuration, its parts' fields included.

    The defaults are those of `preset` where there is one: those that `sft` has, say, which pretraining has not.
    """
    rows = []
    for name, field in kind.model_fields.items():
        parts = [t for t in (field.annotation, *get_args(field.annotation)) if isinstance(t, type)]
        below = [part for part in parts if issubclass(part, BaseModel)]
        value = field.get_default(call_default_factory=True) if preset is None else getattr(preset, name)
        for part in below:
            rows += reference(part, f"{prefix}{name}.", value if isinstance(value, part) else None)
        if not below:
            default = "" if field.is_required() and preset is None else repr(value)
            rows.append((prefix + name, default, field.description or ""))
    return list(dict.fromkeys(rows))


def reference_page(kind: type[BaseModel]) -> str:
    """Return `docs/settings.md`: every setting with its default and what it does."""
    lines = [
        "# Settings",
        "",
        "Every knob of `goldpanner run` and `goldpanner train`: in a YAML file (`--config`), or one by one",
        "(`--set grpo.steps=20`). `domain.kind` is `world` or `column-addition`; the keys after each belong to it.",
        "`goldpanner run` uses `pretrain`, `sft` and `grpo`; `ppo` and `rft` are for `goldpanner train`.",
        "",
        "| setting | default | what it does |",
        "|---|---|---|",
    ]
    for key, default, text in reference(kind):
        lines.append(f"| `{key}` | `{default}` | {text} |" if default else f"| `{key}` | by domain | {text} |")
    return "\n".join(lines) + "\n"


def _put(tree: dict[str, object], dotted: str, value: object) -> None:
    *path, last = dotted.split(".")
    for part in path:
        below = tree.setdefault(part, {})
        if not isinstance(below, dict):
            raise InputError(f"--set {dotted}: {part!r} is {below!r}, which has no fields below it")
        tree = below
    tree[last] = value


def _merge(tree: dict[str, object], other: Mapping[str, object]) -> None:
    """Put `other` over `tree`, mapping by mapping."""
    for key, value in other.items():
        below = tree.get(key)
        if isinstance(value, dict) and isinstance(below, dict):
            _merge(below, value)
        else:
            tree[key] = value


def _leaves(tree: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(tree, dict) and tree:
        for key, value in tree.items():
            yield from _leaves(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, tree


def _explain(error: ValidationError, kind: type[BaseModel]) -> str:
    keys = [key for key, _ in _leaves(_tree_of(kind))]
    lines = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"] if part not in ("world", "column-addition"))
        if item["type"] == "extra_forbidden":
            near = difflib.get_close_matches(key, keys, n=3, cutoff=0.5)
            hint = f"; did you mean {' or '.join(near)}?" if near else f"; known keys: {', '.join(keys[:12])} ..."
            lines.append(f"unknown setting {key!r}{hint}")
        else:
            message = item["msg"].removeprefix("Value error, ")
            value = (
                "" if isinstance(item["input"], dict) else f" = {item['input']!r}"
            )  # several that do not go together
            lines.append(f"setting {key}{value} cannot be used: {message}" if key else f"settings: {message}")
    return "\n".join(lines)


def _tree_of(kind: type[BaseModel]) -> Any:
    try:
        return kind().model_dump(mode="json")
    except ValidationError:
        return dict.fromkeys(key for key, _, _ in reference(kind))
