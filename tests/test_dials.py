import pytest

from proxy.dials import TokenAges
from proxy.gate.budget import View
from proxy.metrics import Metrics
from tests.scraped import Labels, samples


@pytest.fixture(name="metrics")
def _metrics() -> Metrics:
    metrics = Metrics()
    metrics.allow(mounts=["questrade"], clients=["notebook"], templates=[], grants=["questrade"])
    return metrics


def _samples(metrics: Metrics, name: str) -> dict[Labels, float]:
    return samples(metrics.render(), name)


def test_the_age_of_a_pair_can_be_read(metrics: Metrics) -> None:
    """Generation and the points in time of both tokens; after a revoke none of them is left."""
    metrics.dials.token_pair("questrade", 4, TokenAges(100.0, 1900.0, 100.0, None, 9000.0))
    metrics.dials.token_pair("unknown", 1, TokenAges(1.0, 2.0, 1.0, 2.0, None))
    grant = (("grant", "questrade"),)
    expected = {
        "bearerd_generation": {grant: 4.0},
        "bearerd_access_token_issued_timestamp_seconds": {grant: 100.0},
        "bearerd_access_token_expires_timestamp_seconds": {grant: 1900.0},
        "bearerd_refresh_token_issued_timestamp_seconds": {grant: 100.0},
        "bearerd_refresh_token_expires_timestamp_seconds": {},
        "bearerd_login_ends_timestamp_seconds": {grant: 9000.0},
    }
    assert expected == {name: _samples(metrics, name) for name in expected}
    metrics.dials.no_token_pair("questrade")
    assert {} == _samples(metrics, "bearerd_generation")


def test_journal_slots_are_asked_for_when_read(metrics: Metrics) -> None:
    """The gauge is a question to the journal, not a copy that may be stale."""
    slots = [3]
    metrics.dials.journal_slots(lambda: slots[0])
    slots[0] = 5
    assert {(): 5.0} == _samples(metrics, "bearerd_journal_slots_in_use")


def test_budgets_are_shown_as_they_are(metrics: Metrics) -> None:
    """What is left where that is known, and who waits; a budget that is gone leaves no series."""
    known, unknown = View(20, 7, 0.5, 0.0), View(None, None, None, 0.0)
    metrics.dials.budgets(
        [("questrade", "market", known, 2), ("questrade", "account", unknown, 0), ("stranger", "market", known, 1)]
    )
    market = (("category", "market"), ("grant", "questrade"))
    assert {market: 7.0} == _samples(metrics, "bearerd_rate_remaining")
    assert {market: 20.0} == _samples(metrics, "bearerd_rate_limit")
    waiting = {market: 2.0, (("category", "account"), ("grant", "questrade")): 0.0}
    assert waiting == _samples(metrics, "bearerd_rate_waiting")
    metrics.dials.budgets([])
    assert {} == _samples(metrics, "bearerd_rate_remaining")


def test_a_grant_is_in_one_state(metrics: Metrics) -> None:
    """The state before is gone from the metrics, and so are the members of a state that has none any more."""
    metrics.dials.standing("questrade", "fresh", 100.0, {"fresh": 3, "due": 1}, usable=True)
    metrics.dials.standing("questrade", "needs-login", 200.0, {"fresh": 4}, usable=True)

    grant = ("grant", "questrade")
    assert {(grant, ("state", "needs-login")): 1.0} == _samples(metrics, "bearerd_grant_state")
    assert {(grant,): 200.0} == _samples(metrics, "bearerd_grant_state_since_timestamp_seconds")
    assert {(grant, ("state", "fresh")): 4.0} == _samples(metrics, "bearerd_members")


def test_a_grant_that_is_gone_leaves_no_series(metrics: Metrics) -> None:
    """A reload may drop a grant; one that was never configured opens no series."""
    metrics.dials.standing("questrade", "fresh", 100.0, {"fresh": 3}, usable=True)
    metrics.dials.standing("stranger", "fresh", 100.0, {}, usable=True)
    metrics.dials.gone("questrade")

    for name in ("grant_state", "grant_usable", "members", "grant_state_since_timestamp_seconds"):
        assert {} == _samples(metrics, f"bearerd_{name}")


@pytest.mark.parametrize("up", [True, False])
def test_the_store_is_up_or_down(metrics: Metrics, up: bool) -> None:
    """1 or 0."""
    metrics.dials.store_up(up)
    assert {(): float(up)} == _samples(metrics, "bearerd_store_up")


def test_how_the_loop_keeps_up_is_shown(metrics: Metrics) -> None:
    """Seconds, and 1 while reads are refused."""
    metrics.dials.loop(lag=0.25, overloaded=True)
    assert ({(): 0.25}, {(): 1.0}) == (
        _samples(metrics, "bearerd_loop_lag_seconds"),
        _samples(metrics, "bearerd_overloaded"),
    )


def test_halts_are_shown_by_mount(metrics: Metrics) -> None:
    """1 or 0 for each mount that there is; one that has gone leaves no series."""
    metrics.dials.halted({"questrade": True})
    assert {(("mount", "questrade"),): 1.0} == _samples(metrics, "bearerd_halted")
    metrics.dials.halted({"questrade": False})
    assert {(("mount", "questrade"),): 0.0} == _samples(metrics, "bearerd_halted")
    metrics.dials.halted({})
    assert {} == _samples(metrics, "bearerd_halted")


def test_what_runs_is_told(metrics: Metrics) -> None:
    """The version as a label of a series that is 1, and whether it serves."""
    metrics.dials.process("1.2.3", 100.0, ready=True, draining=False)
    metrics.dials.workers(4, 3)
    metrics.dials.config(changed=True, reload_failed=False)
    metrics.dials.clock_differs(False)
    ((labels, value),) = _samples(metrics, "bearerd_build_info").items()
    assert ("1.2.3", 1.0) == (dict(labels)["version"], value)
    expected = {
        "started_timestamp_seconds": 100, "ready": 1, "draining": 0, "workers_wanted": 4, "workers_ready": 3,
        "config_changed": 1, "config_reload_failed": 0, "clock_differs": 0,
    }  # fmt: skip
    assert {name: {(): value} for name, value in expected.items()} == {
        name: _samples(metrics, f"bearerd_{name}") for name in expected
    }


def test_doors_are_told_of(metrics: Metrics) -> None:
    """When certificate and client keys end, and streams of mounts that there are."""
    metrics.dials.certificate(None)
    assert {} == _samples(metrics, "bearerd_tls_certificate_expires_timestamp_seconds")
    metrics.dials.certificate(9.0)
    metrics.dials.client_keys({"notebook": 7.0, "stranger": 8.0})
    metrics.dials.streams_open({("questrade", "socket"): 2, ("stranger", "http"): 1})
    assert {(("listener", "data"),): 9.0} == _samples(metrics, "bearerd_tls_certificate_expires_timestamp_seconds")
    assert {(("client", "notebook"),): 7.0} == _samples(metrics, "bearerd_client_key_expires_timestamp_seconds")
    assert {
        (("kind", "socket"), ("mount", "questrade")): 2.0,
        (("kind", "http"), ("mount", "other")): 1.0,
    } == _samples(metrics, "bearerd_streams_open")
    metrics.dials.client_keys({})
    assert {} == _samples(metrics, "bearerd_client_key_expires_timestamp_seconds")


def test_the_audit_trail_is_looked_at(metrics: Metrics) -> None:
    """What waits for the disk, and whether that takes it."""
    metrics.dials.audit(waiting=120, failing=True)
    assert ({(): 120.0}, {(): 1.0}) == (
        _samples(metrics, "bearerd_audit_waiting_bytes"),
        _samples(metrics, "bearerd_audit_failing"),
    )
