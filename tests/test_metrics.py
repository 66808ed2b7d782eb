import json

import pytest
from prometheus_client.parser import text_string_to_metric_families

from proxy.gate.scopes import Row, ScopeTable
from proxy.metrics import CONTENT_TYPE, Metrics


@pytest.fixture(name="metrics")
def _metrics() -> Metrics:
    metrics = Metrics()
    metrics.allow(
        mounts=["questrade"], clients=["notebook"], templates=["/v1/accounts/{account}"], grants=["questrade"]
    )
    return metrics


def _answered(metrics: Metrics, **changes: object) -> None:
    call: dict[str, object] = {
        "mount": "questrade", "template": "/v1/accounts/{account}", "method": "GET", "status": 200,
        "client": "notebook", "seconds": 0.02,
    }  # fmt: skip
    metrics.answered(**(call | changes))  # type: ignore[arg-type]


def _samples(metrics: Metrics, name: str) -> dict[tuple[tuple[str, str], ...], float]:
    families = text_string_to_metric_families(metrics.render().decode())
    found = [sample for family in families for sample in family.samples if sample.name == name]
    return {tuple(sorted(sample.labels.items())): sample.value for sample in found}


def test_a_call_is_counted_by_row_and_client(metrics: Metrics) -> None:
    """Mount, template, method, status class and client; its time goes into the mount's histogram."""
    _answered(metrics)
    _answered(metrics, status=204)
    labels = (
        ("client", "notebook"), ("method", "GET"), ("mount", "questrade"), ("status_class", "2xx"),
        ("template", "/v1/accounts/{account}"),
    )  # fmt: skip
    assert {labels: 2.0} == _samples(metrics, "bearerd_requests_total")
    assert {(("mount", "questrade"),): 2.0} == _samples(metrics, "bearerd_request_seconds_count")


def test_labels_are_closed_sets(metrics: Metrics) -> None:
    """A thousand invented paths, methods, clients and statuses open one series, not a thousand."""
    for number in range(1000):
        invented = f"X{number}"
        _answered(
            metrics, mount=invented, template=f"/{number}", method=invented, status=10_000 + number, client=invented
        )
    assert 1 == len(_samples(metrics, "bearerd_requests_total"))
    assert 1 == len(_samples(metrics, "bearerd_request_seconds_count"))


def test_what_was_never_found_out_is_a_dash(metrics: Metrics) -> None:
    """A refused call has no template, perhaps no mount and no client."""
    _answered(metrics, mount=None, template=None, client=None, status=401)
    (labels,) = _samples(metrics, "bearerd_requests_total")
    assert {"mount": "-", "template": "-", "client": "-", "method": "GET", "status_class": "4xx"} == dict(labels)


def test_a_reload_can_add_names(metrics: Metrics) -> None:
    """A new client is counted under its own name from the reload on."""
    _answered(metrics, client="bot")
    metrics.allow(mounts=[], clients=["bot"], templates=[], grants=[])
    _answered(metrics, client="bot")
    assert ["bot", "other"] == sorted(dict(labels)["client"] for labels in _samples(metrics, "bearerd_requests_total"))


def test_mounts_of_several_apis_share_a_label_for_the_same_template(metrics: Metrics) -> None:
    """The mount tells them apart; the rows of each table are names that are known."""
    tables = [ScopeTable([Row("a", "GET", path, "read")], {}) for path in ("/v2/account", "/v2/stocks", "/v2/account")]
    templates = {row.path for table in tables for row in table.rows}
    metrics.allow(mounts=["alpaca", "alpaca-data"], clients=[], templates=templates, grants=[])
    for mount in ("alpaca", "alpaca-data"):
        _answered(metrics, mount=mount, template="/v2/account")
    assert [("/v2/account", "alpaca"), ("/v2/account", "alpaca-data")] == sorted(
        (dict(labels)["template"], dict(labels)["mount"]) for labels in _samples(metrics, "bearerd_requests_total")
    )


def test_refusals_are_counted_by_kind(metrics: Metrics) -> None:
    """Kinds are those of errors.py."""
    metrics.denied("scope-denied")
    metrics.denied("no-such-kind")
    assert {(("kind", "scope-denied"),): 1.0, (("kind", "other"),): 1.0} == _samples(metrics, "bearerd_denials_total")


def test_the_broker_side_is_counted(metrics: Metrics) -> None:
    """Answer times and 401s, by mount."""
    metrics.upstream("questrade", 0.3)
    metrics.upstream_unauthorized("questrade")
    assert {(("mount", "questrade"),): 0.3} == _samples(metrics, "bearerd_upstream_seconds_sum")
    assert {(("mount", "questrade"),): 1.0} == _samples(metrics, "bearerd_upstream_401_total")


def test_calls_in_flight_go_up_and_down(metrics: Metrics) -> None:
    """Each `began` has its `ended`."""
    metrics.began()
    metrics.began()
    metrics.ended()
    assert {(): 1.0} == _samples(metrics, "bearerd_in_flight")


def test_token_requests_are_counted_by_outcome(metrics: Metrics) -> None:
    """Outcomes are a closed set too."""
    metrics.token_refresh("questrade", "renewed")
    metrics.token_refresh("questrade", "canary text of a broker")
    assert {
        (("grant", "questrade"), ("outcome", "renewed")): 1.0,
        (("grant", "questrade"), ("outcome", "other")): 1.0,
    } == _samples(metrics, "bearerd_token_refresh_total")


def test_the_age_of_a_pair_can_be_read(metrics: Metrics) -> None:
    """Generation and the points in time of both tokens; after a revoke none of them is left."""
    metrics.token_pair("questrade", generation=4, access=(100.0, 1900.0), refresh=(100.0, None), ends=9000.0)
    metrics.token_pair("unknown", generation=1, access=(1.0, 2.0), refresh=(1.0, 2.0), ends=None)
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
    metrics.no_token_pair("questrade")
    assert {} == _samples(metrics, "bearerd_generation")


def test_journal_slots_are_asked_for_when_read(metrics: Metrics) -> None:
    """The gauge is a question to the journal, not a copy that may be stale."""
    slots = [3]
    metrics.journal_slots(lambda: slots[0])
    slots[0] = 5
    assert {(): 5.0} == _samples(metrics, "bearerd_journal_slots_in_use")


def test_two_servers_in_one_process_share_nothing() -> None:
    """Each has a registry of its own."""
    first, second = Metrics(), Metrics()
    first.began()
    assert {(): 0.0} == _samples(second, "bearerd_in_flight")
    assert CONTENT_TYPE.startswith("text/plain")


def test_calls_that_waited_are_counted(metrics: Metrics) -> None:
    """By grant and by what became of them; and how long they waited."""
    for grant, outcome in (("questrade", "waited"), ("questrade", "refused"), ("stranger", "dreamt")):
        metrics.paced(grant, outcome, 0.5)
    assert {
        (("grant", "questrade"), ("outcome", "waited")): 1.0,
        (("grant", "questrade"), ("outcome", "refused")): 1.0,
        (("grant", "other"), ("outcome", "other")): 1.0,
    } == _samples(metrics, "bearerd_paced_total")
    assert 1.0 == _samples(metrics, "bearerd_paced_wait_seconds_sum")[(("grant", "questrade"),)]


def test_budgets_are_shown_as_they_are(metrics: Metrics) -> None:
    """What is left where that is known, and who waits; a budget that is gone leaves no series."""
    metrics.budgets([("questrade", "market", 7, 2), ("questrade", "account", None, 0), ("stranger", "market", 1, 1)])
    market = (("category", "market"), ("grant", "questrade"))
    assert {market: 7.0} == _samples(metrics, "bearerd_rate_remaining")
    waiting = {market: 2.0, (("category", "account"), ("grant", "questrade")): 0.0}
    assert waiting == _samples(metrics, "bearerd_rate_waiting")
    metrics.budgets([])
    assert {} == _samples(metrics, "bearerd_rate_remaining")


def test_a_grant_is_in_one_state(metrics: Metrics) -> None:
    """The state before is gone from the metrics, and so are the members of a state that has none any more."""
    metrics.standing("questrade", "fresh", 100.0, {"fresh": 3, "due": 1})
    metrics.standing("questrade", "needs-login", 200.0, {"fresh": 4})

    grant = ("grant", "questrade")
    assert {(grant, ("state", "needs-login")): 1.0} == _samples(metrics, "bearerd_grant_state")
    assert {(grant,): 200.0} == _samples(metrics, "bearerd_grant_state_since_timestamp_seconds")
    assert {(grant, ("state", "fresh")): 4.0} == _samples(metrics, "bearerd_members")


def test_a_grant_that_is_gone_leaves_no_series(metrics: Metrics) -> None:
    """A reload may drop a grant; one that was never configured opens no series."""
    metrics.standing("questrade", "fresh", 100.0, {"fresh": 3})
    metrics.standing("stranger", "fresh", 100.0, {})
    metrics.gone("questrade")

    for name in ("grant_state", "members", "grant_state_since_timestamp_seconds"):
        assert {} == _samples(metrics, f"bearerd_{name}")


@pytest.mark.parametrize("up", [True, False])
def test_the_store_is_up_or_down(metrics: Metrics, up: bool) -> None:
    """1 or 0."""
    metrics.store_up(up)
    assert {(): float(up)} == _samples(metrics, "bearerd_store_up")


def test_how_the_loop_keeps_up_is_shown(metrics: Metrics) -> None:
    """Seconds, and 1 while reads are refused."""
    metrics.loop(lag=0.25, overloaded=True)
    assert ({(): 0.25}, {(): 1.0}) == (
        _samples(metrics, "bearerd_loop_lag_seconds"),
        _samples(metrics, "bearerd_overloaded"),
    )


def test_halts_are_shown_by_mount(metrics: Metrics) -> None:
    """1 or 0 for each mount that there is; one that has gone leaves no series."""
    metrics.halted({"questrade": True})
    assert {(("mount", "questrade"),): 1.0} == _samples(metrics, "bearerd_halted")
    metrics.halted({"questrade": False})
    assert {(("mount", "questrade"),): 0.0} == _samples(metrics, "bearerd_halted")
    metrics.halted({})
    assert {} == _samples(metrics, "bearerd_halted")


def test_the_audit_trail_is_counted(metrics: Metrics) -> None:
    """Records since the start, told as totals; what waits and whether it fails as they are now."""
    metrics.audit(5, 0, waiting=120, failing=False)
    metrics.audit(9, 2, waiting=0, failing=True)
    text = metrics.render().decode()
    assert "bearerd_audit_records_total 9.0" in text
    assert "bearerd_audit_records_lost_total 2.0" in text
    assert "bearerd_audit_waiting_bytes 0.0" in text
    assert "bearerd_audit_failing 1.0" in text


def test_several_processes_are_counted_as_one() -> None:
    """What a process tells is added up, whatever it is; calls in flight are those of all that live."""
    here, there = Metrics(), Metrics()
    for metrics in (here, there):
        metrics.allow(mounts=["questrade"], clients=["notebook"], templates=["/v1/accounts/{account}"], grants=[])
        metrics.began()
        _answered(metrics)
        metrics.upstream("questrade", 0.3)
    here.absorb("worker-1", json.loads(json.dumps(there.snapshot())))
    here.absorb("worker-1", there.snapshot())
    assert [2.0] == list(_samples(here, "bearerd_requests_total").values())
    assert [2.0] == list(_samples(here, "bearerd_upstream_seconds_count").values())
    assert {(): 2.0} == _samples(here, "bearerd_in_flight")
    here.forget("worker-1")
    here.forget("worker-1")
    assert {(): 1.0} == _samples(here, "bearerd_in_flight")
    assert [2.0] == list(_samples(here, "bearerd_requests_total").values())


def test_times_are_told_as_prometheus_has_them(metrics: Metrics) -> None:
    """Each bound counts all that took no longer, and the last one counts everything."""
    for seconds in (0.0005, 0.02, 0.02, 31.0):
        metrics.upstream("questrade", seconds)
    found = {
        dict(labels)["le"]: value for labels, value in _samples(metrics, "bearerd_upstream_seconds_bucket").items()
    }
    assert {"0.001": 1.0, "0.01": 1.0, "0.025": 3.0, "30.0": 3.0, "+Inf": 4.0}.items() <= found.items()
    assert [31.0405] == list(_samples(metrics, "bearerd_upstream_seconds_sum").values())
