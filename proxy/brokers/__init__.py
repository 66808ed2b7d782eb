"""What differs between brokers, as data: one YAML file a broker, here or in the user's configuration.

`definition` says what a broker is, `reading` makes one of a text (with `logins`, `environments` and `tables`), `origin`
is where a bearer may go. `catalogue` puts the built-in brokers and the user's `brokers:` together.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from pathlib import Path

from proxy.brokers.definition import AnswerRule as AnswerRule
from proxy.brokers.definition import Api as Api
from proxy.brokers.definition import Broker as Broker
from proxy.brokers.definition import Endpoints as Endpoints
from proxy.brokers.definition import Environment as Environment
from proxy.brokers.definition import Login as Login
from proxy.brokers.definition import Placement as Placement
from proxy.brokers.definition import Rate as Rate
from proxy.brokers.origin import HostPattern as HostPattern
from proxy.brokers.origin import Origin as Origin
from proxy.brokers.reading import extend, read_broker
from proxy.brokers.section import Section
from proxy.config.document import Document, parse_yaml
from proxy.config.problem import ConfigInvalid, Problem


@cache
def builtin_names() -> tuple[str, ...]:
    """The brokers that come with bearerd, sorted."""
    files = (file.name for file in resources.files(__name__).iterdir())
    return tuple(sorted(name.removesuffix(".yaml") for name in files if name.endswith(".yaml")))


@cache
def builtin(name: str) -> Broker:
    """A broker that comes with bearerd; `LookupError` for another name."""
    if name not in builtin_names():
        raise LookupError(f"no built-in broker is called {name!r}")
    file = resources.files(__name__).joinpath(f"{name}.yaml")
    return load(parse_yaml(file.read_text(encoding="utf-8"), file.name, ours=True), name)


def load(document: Document, name: str, *, base: Path = Path()) -> Broker:
    """A whole definition as a broker called `name`; `ConfigInvalid` with every problem of it."""
    problems = list(document.problems)
    # Without data the text was no YAML: then everything else would seem to be missing.
    broker = read_broker(Section(document, (), problems), name, base) if document.data or not problems else None
    if broker is None or problems:
        raise ConfigInvalid(problems, document.name)
    return broker


class Catalogue(Mapping[str, Broker]):
    """All brokers by name. One that comes with bearerd is read when somebody asks for it, and `own` go before."""

    def __init__(self, own: Mapping[str, Broker]) -> None:
        self._own = dict(own)

    def __getitem__(self, name: str) -> Broker:
        if name not in self._own and name not in builtin_names():
            raise KeyError(name)
        return self._own.get(name) or builtin(name)

    def __contains__(self, name: object) -> bool:
        return name in self._own or name in builtin_names()

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys((*builtin_names(), *self._own)))

    def __len__(self) -> int:
        return len(list(iter(self)))


def catalogue(own: Document | None = None, *, base: Path = Path()) -> tuple[Catalogue, list[Problem]]:
    """All brokers by name, and every problem with the user's own.

    `own` is the `brokers:` part of the configuration: a built-in's name extends it, another name defines a broker.
    `base` is where a relative `ca_file` starts. With problems the brokers are good for further checks and nothing
    else.
    """
    brokers: dict[str, Broker] = {}
    problems: list[Problem] = []
    if own is not None:
        root = Section(own, (), problems)
        for name in root.data:
            section = root.section(name)
            known = builtin(name) if name in builtin_names() else None
            found = extend(section, known, base) if known else read_broker(section, name, base)
            if found:
                brokers[name] = found
    return Catalogue(brokers), problems
