"""What goes between custody and workers: whole, and without the secrets that are no worker's business."""

import math
from pathlib import Path

from proxy.brokers import Origin
from proxy.clock import Now
from proxy.errors import Refusal
from proxy.secret import Secret
from proxy.settings import read
from proxy.tokens.grant import TokenPair
from proxy.workers.parcels import (
    blind,
    headers_of,
    headers_told,
    pair_of,
    pair_told,
    refusal_of,
    refusal_told,
    settings_of,
)

CANARY = "canary-of-a-secret-0001"
TEXT = f"""version: 1
store: postgresql://bearerd@db.internal/bearerd
store_password: {CANARY}
state: state
clients: {{bot: {{papers: [account:read]}}}}
mounts:
  papers: {{broker: alpaca, api: trading, environment: paper, scopes: [account:read], grant: papers}}
grants:
  papers: {{login: connect, client_id: some-client, client_secret: {CANARY}}}
"""


def test_settings_go_without_one_secret(tmp_path: Path) -> None:
    """The database's password and an application's secret stay; the rest is what custody goes by."""
    path = tmp_path / "config.yaml"
    path.write_text(TEXT)
    settings = read(path, {"HOME": str(tmp_path)})
    assert settings.config.store_password == Secret(CANARY)
    parcel = blind(settings)
    assert CANARY.encode() not in parcel
    found = settings_of(parcel)
    assert found.config.store_password == Secret("")
    assert found.config.mounts == settings.config.mounts
    assert found.grants["papers"].environment == settings.grants["papers"].environment
    assert found.api_of("papers").table.rows == settings.api_of("papers").table.rows


def test_a_pair_comes_as_it_went() -> None:
    """One with an end, and one without."""
    for end in (Now(1000.5, 20.25), Now(math.inf, math.inf)):
        pair = TokenPair(7, Secret("token"), Origin("127.0.0.1", 8443), end, end.wall)
        assert pair_of(pair_told(pair)) == pair


def test_a_refusal_comes_as_it_went() -> None:
    """Status, words, and what would help."""
    refusal = Refusal("token-unavailable", "grant lab: no token", fix="bearerd login lab", retry_after=5, rule="x")
    found = refusal_of(refusal_told(refusal))
    assert (found.kind, found.detail, found.fix) == (refusal.kind, refusal.detail, refusal.fix)
    assert (found.retry_after, found.rule) == (5, "x")


def test_of_headers_only_those_that_are_asked_for_go() -> None:
    """By name, in any case; values may hold any byte."""
    headers = [(b"X-Left", b"3\xff"), (b"Set-Cookie", b"secret"), (b"Date", b"now")]
    told = headers_told(headers, (b"x-left", b"date"))
    assert headers_of(told) == [(b"X-Left", b"3\xff"), (b"Date", b"now")]
