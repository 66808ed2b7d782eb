"""What differs between brokers, as data: one YAML file a broker, here or in the user's configuration.

`definition` says what a broker is, `reading` makes one of a text, `origin` is where a bearer may go. `catalogue` puts
the built-in brokers and the user's `brokers:` together.
"""

from functools import cache
from importlib import resources
from pathlib import Path

from proxy.brokers.definition import AnswerRule as AnswerRule
from proxy.brokers.definition import Broker as Broker
from proxy.brokers.definition import Environment as Environment
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
    return load(parse_yaml(file.read_text(encoding="utf-8"), file.name), name)


def load(document: Document, name: str, *, base: Path = Path()) -> Broker:
    """A whole definition as a broker called `name`; `ConfigInvalid` with every problem of it."""
    problems = list(document.problems)
    # Without data the text was no YAML: then everything else would seem to be missing.
    broker = read_broker(Section(document, (), problems), name, base) if document.data or not problems else None
    if broker is None or problems:
        raise ConfigInvalid(problems, document.name)
    return broker


def catalogue(own: Document | None = None, *, base: Path = Path()) -> tuple[dict[str, Broker], list[Problem]]:
    """All brokers by name, and every problem with the user's own.

    `own` is the `brokers:` part of the configuration: a built-in's name extends it, another name defines a broker.
    `base` is where a relative `ca_file` starts. With problems the brokers are good for further checks and nothing
    else.
    """
    brokers = {name: builtin(name) for name in builtin_names()}
    problems: list[Problem] = []
    if own is None:
        return brokers, problems
    root = Section(own, (), problems)
    for name in root.data:
        section = root.section(name)
        known = brokers.get(name)
        found = extend(section, known, base) if known else read_broker(section, name, base)
        if found:
            brokers[name] = found
    return brokers, problems
