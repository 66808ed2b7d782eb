"""File, environment and flags → one frozen `Config`, or every reason why not."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from proxy import __version__
from proxy.config import faults
from proxy.config.checks import contradictions
from proxy.config.config import Config
from proxy.config.document import Document, parse_yaml
from proxy.config.merge import Merged, merge
from proxy.config.problem import ConfigInvalid, Mark, Problem, in_order
from proxy.config.problem import Path as KeyPath
from proxy.dsn import is_database

VERSION = 1  # of the file's format: the highest that is read
_MAX_BYTES = 1 << 20
_ROUNDS = 8


@dataclass(frozen=True, slots=True)
class Loaded:
    """What `load` found. `config` is None if there are problems.

    `draft` is the configuration without the parts that are wrong: good for further checks, so that their problems come
    in the same run, and for nothing else. None if nothing could be read. `newer`: the file says that it is for a later
    bearerd, which is the one problem then: what else is wrong with it nobody here can know.
    """

    config: Config | None
    problems: tuple[Problem, ...]
    document: Document
    draft: Config | None
    newer: bool = False

    def require(self) -> Config:
        """The configuration; raises `ConfigInvalid` with all problems."""
        if self.config is None:
            raise ConfigInvalid(self.problems, self.document.name)
        return self.config


def find(explicit: Path | None, environ: Mapping[str, str]) -> Path:
    """The file to read: `explicit`, $BEARERD_CONFIG, else the first that exists. Raises `ConfigInvalid`."""
    if explicit is not None:
        return explicit
    if named := environ.get("BEARERD_CONFIG"):
        return Path(named)
    places = (Path("config.yaml"), _config_home(environ) / "config.yaml", Path("/etc/bearerd/config.yaml"))
    for place in places:
        if place.exists():
            return place
    message = f"no configuration: none of {', '.join(map(str, places))} exists"
    raise ConfigInvalid([Problem(None, "", message, "run: bearerd init", source="bearerd")], "config.yaml")


def default_places(environ: Mapping[str, str], system: str = sys.platform) -> dict[str, str]:
    """`store`, `state` and `key` where the file names none: below the XDG, systemd or macOS directories."""
    if state_home := environ.get("XDG_STATE_HOME"):
        state = Path(state_home) / "bearerd"
    elif systemd := environ.get("STATE_DIRECTORY"):
        state = Path(systemd.split(":")[0])
    else:
        state = _own_place(environ, ".local/state", system)
    return {
        "store": f"sqlite:{state / 'store.db'}",
        "state": str(state),
        "key": f"file:{_config_home(environ, system) / 'master.key'}",
    }


def load(path: Path, environ: Mapping[str, str], overrides: Mapping[str, str] | None = None) -> Loaded:
    """Read and check everything; never raises for what is in the file, environment or flags.

    `overrides` come from flags: dotted key → text (`{"log.level": "debug"}`); an unknown key there is a LookupError.
    """
    document = _read(path)
    merged, problems = merge(document, environ, overrides or {})
    base = path.absolute().parent
    context = {"base": base, "home": _home(environ)}
    problems += document.problems
    draft = None
    if not _unreadable(document):
        draft, found = _build(merged, context, default_places(environ))
        problems += found
        problems += contradictions(merged)
    if draft is not None:
        draft.remember(merged, base)
    if (problem := _newer(merged)) is not None:
        return Loaded(None, (problem,), document, draft, newer=True)
    return Loaded(None if problems else draft, in_order(problems), document, draft)


def _newer(merged: Merged) -> Problem | None:
    found = merged.data.get("version")
    if not isinstance(found, int) or found <= VERSION:
        return None
    message = f"is {found}, and bearerd {__version__} reads {VERSION}: the file was written for a newer one"
    return merged.problem(("version",), message, "use that one, or its predecessor's file (docs/upgrading.md)")


def _unreadable(document: Document) -> bool:
    return bool(document.problems) and not document.data


def _build(
    merged: Merged, context: Mapping[str, Any], defaults: Mapping[str, str]
) -> tuple[Config | None, list[Problem]]:
    """Validate; what is refused is taken out and the rest tried again, until a draft stands."""
    problems: list[Problem] = []
    data = _copy(merged.data)
    for key, text in defaults.items():
        # A SQLite store has its state beside it.
        if key != "state" or is_database(str(data["store"])):
            data.setdefault(key, text)
    for round_number in range(_ROUNDS):
        try:
            return Config.model_validate(data, context=dict(context)), problems
        except ValidationError as error:
            # Later rounds see only what earlier ones tore open.
            if round_number == 0:
                problems += faults.problems(error, merged)
            # Misspelt keys first: what they mend is then no longer missing.
            findings = error.errors(include_url=False)
            for found in sorted(findings, key=lambda each: each["type"] != "extra_forbidden"):
                _mend(data, found)
    return None, problems


def _mend(data: dict[str, Any], found: faults.Finding) -> None:
    """Put a misspelt key right, take anything else that was refused out."""
    path = faults.place(found)
    meant = faults.meant(found)
    if meant and isinstance(parent := _at(data, path[:-1]), dict) and path[-1] in parent:
        parent.setdefault(meant, parent[path[-1]])
    if found["type"] == "missing":
        if path[-1] in (_at(data, path[:-1]) or ()):
            return
        path = path[:-1]
    _remove(data, path)


def _at(data: Any, path: KeyPath) -> Any:
    for step in path:
        data = data.get(step) if isinstance(data, dict) else None
    return data


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def _remove(data: dict[str, Any], path: KeyPath) -> None:
    here: Any = data
    for step in path[:-1]:
        if not isinstance(here, dict) or step not in here:
            return
        if isinstance(here[step], list):
            here.pop(step)  # one bad item spoils its list
            return
        here = here[step]
    if isinstance(here, dict) and path:
        here.pop(path[-1], None)


def _read(path: Path) -> Document:
    name = str(path)
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
    except OSError as error:
        reason = (os.strerror(error.errno) if error.errno else "it cannot be read").lower()
        return _nothing(name, None, f"cannot be read: {reason}", "run: bearerd init")
    if len(raw) > _MAX_BYTES:
        return _nothing(name, None, f"the file is larger than {_MAX_BYTES} bytes", "name the right one with --config")
    try:
        return parse_yaml(raw.decode("utf-8-sig"), name)
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        mark = Mark(before.count(b"\n") + 1, len(before) - (before.rfind(b"\n") + 1) + 1)
        return _nothing(name, mark, "the file is not UTF-8", "save it as UTF-8")


def _nothing(name: str, mark: Mark | None, message: str, fix: str) -> Document:
    return Document(name, {}, (Problem(mark, "", message, fix, source=name),))


def _home(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("HOME") or Path.home())


def _config_home(environ: Mapping[str, str], system: str = sys.platform) -> Path:
    if config_home := environ.get("XDG_CONFIG_HOME"):
        return Path(config_home) / "bearerd"
    return _own_place(environ, ".config", system)


def _own_place(environ: Mapping[str, str], below: str, system: str) -> Path:
    """Our directory in a home that says nothing of its own. On macOS the usual one, unless the other is in use."""
    place = _home(environ) / below / "bearerd"
    if system == "darwin" and not place.exists():
        return _home(environ) / "Library/Application Support/bearerd"
    return place
