"""What is known of a grant's rate categories before anything is sent."""

import json
from pathlib import Path
from typing import Any

import pytest

from proxy.brokers.definition import Rate, RateHeaders
from proxy.gate.budget import Spec
from proxy.rates import rates_of, told_length
from proxy.settings import read

LIVE: dict[str, Any] = {"broker": "questrade", "environment": "live", "scopes": ["read_acc", "read_md"]}


def _rates(directory: Path, **config: Any) -> dict[str, dict[str | None, Spec]]:
    file = directory / "config.yaml"
    file.write_text(json.dumps({"version": 1, **config}), "utf-8")
    return rates_of(read(file, {"HOME": str(directory)}))


def test_definition_and_configuration_come_together(tmp_path: Path) -> None:
    """Limits, the headers that tell of one, who may call, and how long a call may wait."""
    clients = {"a": {"questrade": ["read_acc"]}, "b": {"questrade": ["read_md"]}, "c": {"other": ["read_acc"]}}
    mounts = {"questrade": LIVE, "other": LIVE}
    found = _rates(tmp_path, mounts=mounts, clients=clients, limits={"pacing": {"wait": 5, "reserve": 0.2}})
    assert {"questrade", "other"} == found.keys()
    market = found["questrade"]["market"]
    assert (((1.0, 20), (3600.0, 15_000)), 3600.0) == (market.limits, market.told)
    assert {b"x-ratelimit-remaining", b"x-ratelimit-reset", b"retry-after", b"date"} == market.names.keys()
    assert (5, 0.2, frozenset("ab"), False) == (market.patience, market.reserve, market.clients, market.orders)
    assert ((), None, 5) == ((plain := found["questrade"][None]).limits, plain.told, plain.patience)


def test_mounts_of_one_grant_share_its_clients(tmp_path: Path) -> None:
    """Whichever of them a client may use."""
    mounts = {"one": {**LIVE, "grant": "mine"}, "two": {**LIVE, "grant": "mine"}}
    clients = {"a": {"one": ["read_acc"]}, "b": {"two": ["read_md"]}}
    assert frozenset("ab") == _rates(tmp_path, mounts=mounts, clients=clients)["mine"]["account"].clients


@pytest.mark.parametrize(("scopes", "orders"), [(["account:read"], False), (["account:read", "trading"], True)])
def test_room_is_kept_for_orders_only_where_they_are_granted(tmp_path: Path, scopes: list[str], orders: bool) -> None:
    """A mount that only reads has the whole limit."""
    mount = {"broker": "alpaca", "environment": "paper", "scopes": scopes}
    grants = {"alpaca": {"login": "keys"}}
    found = _rates(tmp_path, mounts={"alpaca": mount}, clients="none", grants=grants)["alpaca"]
    assert (orders, False) == (found["trading"].orders, found["data"].orders)


def test_an_environment_has_the_last_word(tmp_path: Path) -> None:
    """Tradier's sandbox has half of the limits, and one may say that there are none."""
    mount = {"broker": "tradier", "environment": "sandbox", "scopes": ["market"]}
    found = _rates(tmp_path, mounts={"tradier": mount}, clients="none")["tradier"]
    assert [((60.0, 60),)] * 3 == [found[name].limits for name in ("standard", "market", "trading")]
    none = {"tradier": {"environments": {"sandbox": {"rate_limits": "none"}}}}
    free = _rates(tmp_path, mounts={"tradier": mount}, clients="none", brokers=none)["tradier"]
    assert ((), None, {}) == ((market := free["market"]).limits, market.told, market.names)


@pytest.mark.parametrize(
    ("rate", "tells_of", "length"),
    [
        (Rate(per_second=20, per_hour=15_000), None, 3600.0),
        (Rate(per_second=20, per_hour=15_000), "per_second", 1.0),
        (Rate(per_second=2.5), "per_second", 2.0),
        (Rate(per_second=2.5), "per_minute", 60.0),
        (Rate(), None, 60.0),
    ],
    ids=["the longest", "the one that is named", "in whole calls", "one that is not limited", "none is known"],
)
def test_which_limit_the_headers_tell_of(rate: Rate, tells_of: str | None, length: float) -> None:
    """The length of its window."""
    assert length == told_length(rate, RateHeaders(remaining="x", tells_of=tells_of))
