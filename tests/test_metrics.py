import json

import pytest

from proxy.gate.scopes import Row, ScopeTable
from proxy.metrics import CONTENT_TYPE, Metrics
from tests.scraped import Labels, samples


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


def _samples(metrics: Metrics, name: str) -> dict[Labels, float]:
    return samples(metrics.render(), name)


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
    """Kinds are those of errors.py; whose call it was is told where that was found out."""
    metrics.denied("scope-denied", "questrade", "notebook")
    metrics.denied("no-such-kind")
    assert {
        (("client", "notebook"), ("kind", "scope-denied"), ("mount", "questrade")): 1.0,
        (("client", "-"), ("kind", "other"), ("mount", "-")): 1.0,
    } == _samples(metrics, "bearerd_denials_total")


def test_the_broker_side_is_counted(metrics: Metrics) -> None:
    """Answers by class and their times, and 401s, by mount."""
    metrics.upstream("questrade", 503, 0.2)
    metrics.upstream("questrade", 500, 0.1)
    assert {(("mount", "questrade"), ("status_class", "5xx")): 2.0} == _samples(
        metrics, "bearerd_upstream_answers_total"
    )
    metrics.upstream_unauthorized("questrade")
    assert {(("mount", "questrade"),): pytest.approx(0.3)} == _samples(metrics, "bearerd_upstream_seconds_sum")
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


def test_the_audit_trail_is_counted(metrics: Metrics) -> None:
    """Records since the start, told as totals."""
    metrics.audit(5, 0)
    metrics.audit(9, 2)
    text = metrics.render().decode()
    assert "bearerd_audit_records_total 9.0" in text
    assert "bearerd_audit_records_lost_total 2.0" in text


def test_several_processes_are_counted_as_one() -> None:
    """What a process tells is added up, whatever it is; calls in flight are those of all that live."""
    here, there = Metrics(), Metrics()
    for metrics in (here, there):
        metrics.allow(mounts=["questrade"], clients=["notebook"], templates=["/v1/accounts/{account}"], grants=[])
        metrics.began()
        _answered(metrics)
        metrics.upstream("questrade", 200, 0.3)
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
        metrics.upstream("questrade", 200, seconds)
    found = {
        dict(labels)["le"]: value for labels, value in _samples(metrics, "bearerd_upstream_seconds_bucket").items()
    }
    assert {"0.001": 1.0, "0.01": 1.0, "0.025": 3.0, "30.0": 3.0, "+Inf": 4.0}.items() <= found.items()
    assert [31.0405] == list(_samples(metrics, "bearerd_upstream_seconds_sum").values())


def test_workers_and_spans_are_counted(metrics: Metrics) -> None:
    """Deaths of workers, lines of the log as a total, spans by what became of them."""
    metrics.worker_ended()
    metrics.log_lines_lost(2)
    metrics.log_lines_lost(5)
    metrics.spans("sent", 3)
    metrics.spans("lost in thought")
    assert {(): 1.0} == _samples(metrics, "bearerd_workers_ended_total")
    assert {(): 5.0} == _samples(metrics, "bearerd_log_lines_lost_total")
    assert {(("outcome", "sent"),): 3.0, (("outcome", "other"),): 1.0} == _samples(metrics, "bearerd_trace_spans_total")


def test_the_numbers_of_a_family_can_be_read(metrics: Metrics) -> None:
    """For the charts of the console, which need no text in between."""
    metrics.denied("halted", "questrade", "notebook")
    assert [(("halted", "questrade", "notebook"), [1.0])] == list(metrics.cells("denials"))
