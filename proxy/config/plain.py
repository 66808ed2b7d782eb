"""The configuration as plain data and as YAML again, for `bearerd config show`."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path as FilePath
from typing import Any

from proxy.config.address import Tcp, Unix
from proxy.config.document import scalar
from proxy.config.portrange import PortRange
from proxy.config.problem import Path
from proxy.config.section import Section
from proxy.secret import Secret

Origin = Callable[[Path], str]


def plain(value: Any) -> Any:
    """Sections, addresses, paths and secrets → dict, list and text. Secrets become `***`, None is left out."""
    if isinstance(value, Section):
        named = ((field.alias or name, getattr(value, name)) for name, field in type(value).model_fields.items())
        return {name: plain(item) for name, item in named if item is not None}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, Tcp | Unix):
        return value.written
    if isinstance(value, Secret | FilePath | PortRange):
        return str(value)
    return value


def to_yaml(data: Mapping[str, Any], origin: Origin | None = None) -> str:
    """Plain data as YAML that `parse_yaml` reads back; with `origin`, where each value came from stands behind it."""
    return "".join(f"{line}\n" for line in _lines(data, (), origin))


def _lines(data: Mapping[str, Any], path: Path, origin: Origin | None) -> list[str]:
    lines: list[str] = []
    indent = "  " * len(path)
    for key, value in data.items():
        here = (*path, key)
        if isinstance(value, dict) and value:
            lines += [f"{indent}{_text(key)}:", *_lines(value, here, origin)]
        else:
            comment = f"  # {origin(here)}" if origin else ""
            lines.append(f"{indent}{_text(key)}: {value_text(value)}{comment}")
    return lines


def value_text(value: Any) -> str:
    """A plain value as it would be written in the file, on one line."""
    if isinstance(value, list):
        return f"[{', '.join(map(value_text, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_text(key)}: {value_text(item)}' for key, item in value.items())}}}"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return {True: "true", False: "false", None: "null"}[value] if isinstance(value, bool | None) else str(value)


def _text(text: str) -> str:
    bare = re.fullmatch(r"[A-Za-z0-9_./~](?:[A-Za-z0-9_./:~-]*[A-Za-z0-9_./~-])?", text, re.ASCII)
    return text if bare and isinstance(scalar(text), str) else json.dumps(text, ensure_ascii=False)
