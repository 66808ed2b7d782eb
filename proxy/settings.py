"""The configuration together with the brokers that it names, each checked against the other."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from proxy.brokers import Broker, catalogue
from proxy.config import Config, ConfigInvalid, Problem, did_you_mean, load


@dataclass(frozen=True, slots=True)
class Settings:
    """What the app is made of. `brokers` holds every known definition, the user's own included.

    `stamp` tells the file that was read from a later one (see `stamp_of`).
    """

    config: Config
    brokers: Mapping[str, Broker]
    stamp: tuple[int, int] = (0, 0)


def read(path: Path, environ: Mapping[str, str], overrides: Mapping[str, str] | None = None) -> Settings:
    """Raises `ConfigInvalid` with every problem of the file, the environment, the flags and the user's brokers."""
    stamp = stamp_of(path)
    loaded = load(path, environ, overrides)
    problems = list(loaded.problems)
    brokers: Mapping[str, Broker] = {}
    if loaded.draft is not None:
        brokers, found = catalogue(loaded.draft.brokers, base=loaded.draft.base)
        problems += found
        problems += _mounts(loaded.draft, brokers)
    if problems or loaded.config is None:
        raise ConfigInvalid(problems, loaded.document.name, loaded.document)
    return Settings(loaded.config, brokers, stamp)


def stamp_of(path: Path) -> tuple[int, int]:
    """Tells a changed file without reading it. Blocks."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size


def _mounts(config: Config, brokers: Mapping[str, Broker]) -> Iterator[Problem]:
    """Mounts name brokers, environments and scopes: each must be one that there is."""
    for name, mount in config.mounts.items():
        at = ("mounts", name)
        broker = brokers.get(mount.broker)
        if broker is None:
            fix = did_you_mean(mount.broker, brokers) or f"known: {', '.join(sorted(brokers))}"
            yield config.problem((*at, "broker"), f"there is no broker '{mount.broker}'", fix)
            continue
        if mount.environment not in broker.environments:
            known = broker.environments
            fix = did_you_mean(mount.environment, known) or f"known: {', '.join(known)}"
            message = f"{broker.title} has no environment '{mount.environment}'"
            yield config.problem((*at, "environment"), message, fix)
        if mount.api is not None:
            yield config.problem((*at, "api"), f"{broker.title} has one API only", "remove the line", at_key=True)
        for index, scope in enumerate(mount.scopes):
            if scope not in broker.scopes:
                fix = did_you_mean(scope, broker.scopes) or f"known: {', '.join(broker.scopes)}"
                yield config.problem((*at, "scopes", index), f"{broker.title} has no scope '{scope}'", fix)
