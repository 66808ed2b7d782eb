import re
from pathlib import Path

import pytest

from proxy.config import parse_yaml
from proxy.config.keys import ANY, Kind, children, keys, kind_at, path_of, variable
from proxy.config.model import Settings

EXAMPLE = Path(__file__).resolve().parents[2] / "config.example.yaml"


def test_the_example_documents_every_key() -> None:
    """With its commented-out keys put in force, the example holds every key there is, and no other."""
    text = re.sub(r"(?m)^( *)#(?=[a-z_]+:)", r"\1", EXAMPLE.read_text("utf-8")).replace("grants: {}\n", "")
    document = parse_yaml(text, EXAMPLE.name)
    assert () == document.problems
    Settings.model_validate(document.data)
    missing = [key for key in keys() if not _holds(document.data, key)]
    assert [("brokers", ANY)] == missing  # a subject of its own


def _holds(data: object, key: tuple[str, ...]) -> bool:
    if not key:
        return True
    if not isinstance(data, dict):
        return False
    below = list(data.values()) if key[0] == ANY else [data[key[0]]] if key[0] in data else []
    return any(_holds(value, key[1:]) for value in below)


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        (("version",), Kind.PLAIN),
        (("listen",), Kind.LIST),
        (("mounts", ANY, "port"), Kind.PLAIN),
        (("mounts", ANY, "scopes"), Kind.LIST),
        (("grants", ANY, "client_secret"), Kind.SECRET),
        (("grants", ANY, "client_secret_file"), Kind.TEXT),
        (("grants", ANY, "login"), Kind.TEXT),
        (("grants", ANY, "apps", ANY, "client_secret"), Kind.SECRET),
        (("clients",), Kind.TEXT),
        (("clients", ANY, ANY), Kind.LIST),
        (("brokers", ANY), Kind.TREE),
        (("shutdown", "grace"), Kind.PLAIN),
        (("engine", "loop"), Kind.TEXT),
        (("engine", "express"), Kind.PLAIN),
    ],
)
def test_each_key_has_its_kind(key: tuple[str, ...], kind: Kind) -> None:
    """The kind follows from the model's type."""
    assert kind is keys()[key]


def test_children_are_what_may_stand_below() -> None:
    """Sections list their keys, places for free names list none."""
    assert ["format", "level"] == children(("log",))
    assert "environment" in children(("mounts", "anything"))
    assert [] == children(("mounts",))
    assert None is kind_at(("log", "nothing"))


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("BEARERD_LOG__LEVEL", ("log", "level")),
        ("BEARERD_MOUNTS__QUESTRADE_SPOUSE__PORT", ("mounts", "questrade-spouse", "port")),
        ("BEARERD_CLIENTS", ("clients",)),
        ("BEARERD_KEY_SOURCE", ("key",)),
        ("BEARERD_KEY", None),
        ("BEARERD_BROKERS__X", None),
        ("BEARERD_LOG", None),
        ("BEARERD_NOTHING", None),
    ],
)
def test_a_variable_stands_for_a_key(name: str, path: tuple[str, ...] | None) -> None:
    """`__` separates levels; in names that users choose `_` stands for `-`."""
    assert path == path_of(name)


def test_every_key_has_its_own_variable() -> None:
    """No two keys share one, and each leads back to its key."""
    named = {
        key: tuple("a-b" if step == ANY else step for step in key) for key in keys() if keys()[key] is not Kind.TREE
    }
    assert len(named) == len({variable(path) for path in named.values()})
    assert list(named.values()) == [path_of(variable(path)) for path in named.values()]
