"""What a reload changes, in words: each key that differs, what came and what went, and never a secret."""

import json
from pathlib import Path
from typing import Any

import pytest

from proxy.config import load
from proxy.config.changes import MOST, changes, words
from proxy.config.config import Config
from proxy.config.document import parse_yaml
from tests.product import ROOT

BASE: dict[str, Any] = {
    "mounts": {
        "questrade": {"broker": "questrade", "environment": "live", "scopes": ["read_acc", "read_md"]},
        "alpaca": {"broker": "alpaca", "environment": "paper", "scopes": ["account:read"], "port": 8180},
    },
    "clients": {"bot": {"questrade": ["read_md"]}, "notebook": {"questrade": ["read_acc"]}},
    "grants": {"alpaca": {"login": "connect", "client_id": "one", "client_secret": "canary-one"}},
}


def config(directory: Path, data: dict[str, Any]) -> Config:
    file = directory / "config.yaml"
    file.write_text(json.dumps({"version": 1} | data), "utf-8")
    return load(file, {"HOME": str(directory)}).require()


def at(data: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The same with another value there; None takes it out."""
    first, _, rest = path.partition("/")
    found = dict(data)
    if rest:
        found[first] = at(found.get(first, {}), rest, value)
    elif value is None:
        found.pop(first)
    else:
        found[first] = value
    return found


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("mounts/questrade/scopes", ["read_acc", "read_md", "trade"], ["mounts.questrade.scopes: + trade"]),
        ("mounts/alpaca/scopes", ["trading"], ["mounts.alpaca.scopes: + trading, - account:read"]),
        ("mounts/questrade/scopes", ["read_md", "read_acc"], ["mounts.questrade.scopes: another order"]),
        ("mounts/alpaca/port", None, ["mounts.alpaca.port: 8180 → not set"]),
        ("clients/notebook", None, ["clients: - notebook"]),
        ("clients/third", {"questrade": ["read_md"]}, ["clients: + third"]),
        ("clients/bot/questrade", ["read_md", "read_acc"], ["clients.bot.questrade: + read_acc"]),
        (
            "clients/bot/questrade",
            {"scopes": ["read_md", "read_acc"], "guards": {"accounts": ["26598145"]}},
            ["clients.bot.questrade.scopes: + read_acc", "clients.bot.questrade.guards: + accounts"],
        ),
        ("clients", "none", ["clients: 2 of them → none"]),
        ("grants/alpaca/client_secret", "canary-two", ["grants.alpaca.client_secret: another value"]),
        ("grants/alpaca/client_secret", None, ["grants.alpaca.client_secret: set → not set"]),
        ("limits/body_bytes", 4711, ["limits.body_bytes: 1048576 → 4711"]),
        ("limits/pacing", {"wait": 3}, ["limits.pacing.wait: 2 → 3"]),
        ("listen", "127.0.0.1:1", ["listen: + 127.0.0.1:1, - 127.0.0.1:8080"]),
        ("user_agent", "x" * 200, [f"user_agent: not set → {'x' * 79}…"]),
        ("brokers/own", {"title": "Own"}, ["brokers: + own"]),
        ("log/level", "debug", ["log.level: info → debug"]),
    ],
    ids=[
        "scope", "scopes", "order of scopes", "taken out", "client gone", "client", "rights", "guards", "open to all",
        "another secret", "secret gone", "number", "deep", "addresses", "long", "broker", "word",
    ],
)  # fmt: skip
def test_each_difference_is_told_by_its_key(tmp_path: Path, path: str, value: Any, told: list[str]) -> None:
    """One that was not made is not told."""
    found = changes(config(tmp_path, BASE), config(tmp_path, at(BASE, path, value)))

    assert told == found
    assert "canary" not in "".join(found)


def test_of_an_account_only_the_end_is_told(tmp_path: Path) -> None:
    """What is told of a reload is logged."""
    one, other = (
        at(BASE, "mounts/questrade/guards", {"accounts": accounts}) for accounts in (["26598145"], ["51802966", "77"])
    )

    assert ["mounts.questrade.guards.accounts: + ***966, + ***, - ***145"] == changes(
        config(tmp_path, one), config(tmp_path, other)
    )
    none = at(BASE, "mounts/questrade/guards", {"max_quantity": 5})
    some = at(none, "mounts/questrade/guards/accounts", ["26598145", "77"])
    told = [changes(config(tmp_path, old), config(tmp_path, new)) for old, new in ((none, some), (some, none))]
    place = "mounts.questrade.guards.accounts"
    assert [[f"{place}: not set → [***145, ***]"], [f"{place}: [***145, ***] → not set"]] == told


def test_of_a_command_no_argument_is_told(tmp_path: Path) -> None:
    """It may be a secret."""
    none, one, other, third = (
        config(tmp_path, BASE | {"key": f"command:/bin/{program} {secret}", "alerts": alerts})
        for program, secret, alerts in (
            ("a", "canary-1", {}),
            ("a", "canary-1", {"page": {"command": ["/bin/page", "canary-1"]}}),
            ("a", "canary-2", {"page": {"command": ["/bin/page", "canary-2"]}}),
            ("b", "canary-2", {"page": {"url": "https://127.0.0.1/canary-3"}}),
        )
    )

    assert ["alerts: + page"] == changes(none, one)
    assert ["key: command:/bin/a with other arguments", "alerts.page.command: /bin/page with other arguments"] == (
        changes(one, other)
    )
    assert words(other, third, "key").startswith("key: command:/bin/a → command:/bin/b, ")
    assert ["alerts.page.url: not set → set", "alerts.page.command: /bin/page → not set"] == changes(other, third)[1:]


def test_nothing_is_told_of_the_same(tmp_path: Path) -> None:
    """Two readings of one file."""
    one = config(tmp_path, BASE)

    assert [] == changes(one, config(tmp_path, BASE))


def test_very_many_are_counted(tmp_path: Path) -> None:
    """An audit record and a terminal hold so many."""
    clients = {f"c{number}": {"questrade": ["read_md"]} for number in range(MOST + 10)}
    other = {name: {"questrade": ["read_acc"]} for name in clients}
    found = changes(config(tmp_path, BASE | {"clients": clients}), config(tmp_path, BASE | {"clients": other}))

    assert (MOST + 1, "… and 10 more") == (len(found), found[-1])


def test_what_needs_a_restart_is_told_with_its_line(tmp_path: Path) -> None:
    """One key of the whole, and where it stands; nothing if it is the same."""
    one, other = config(tmp_path, BASE), config(tmp_path, BASE | {"log": {"level": "debug"}})

    assert "level: info → debug" in words(one, other, "log")
    assert words(one, other, "log").endswith("config.yaml:1")
    assert "" == words(one, other, "listen")


def test_every_section_of_the_example_can_be_compared(tmp_path: Path) -> None:
    """Each of its keys, in both directions."""
    found = dict(parse_yaml((ROOT / "config.example.yaml").read_text(), "example").data)
    full, empty = config(tmp_path, found), config(tmp_path, {})

    assert changes(full, empty)
    assert changes(empty, full)
