"""What a server tells Prometheus: a real scrape, the page that explains it, and the rules of its names."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from proxy import __version__
from tests.callers import ask, eventually
from tests.house import House, house
from tests.monitored import everything, labels, promtool
from tests.receiver import receiving
from tests.scraped import families, samples, samples_by_name
from tests.wire import Reply, connected
from tests.workers.house import ACCOUNTS, staffed

PAGE = Path(__file__).resolve().parent.parent / "docs" / "monitoring.md"
CONSOLE = ('console: "off"', "console: 127.0.0.1:0")


@pytest.fixture(name="home")
async def _home(state_dir: Path) -> AsyncIterator[House]:
    async with house(state_dir, CONSOLE) as home:
        yield home


async def _get(home: House, path: str) -> Reply:
    port = urlsplit(home.app.console_address or "").port or 0
    async with connected("127.0.0.1", port) as wire:
        await wire.send(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        reply: Reply = await wire.reply()
        return reply


async def test_a_real_scrape_has_no_problem(home: House) -> None:
    """promtool reads it and has nothing to say; it has the families that the page and the dashboard are held to."""
    await home.call("GET", "/questrade/v1/accounts")
    await home.call("POST", "/questrade/v1/accounts/1/orders")
    reply = await _get(home, "/metrics")
    assert "" == promtool("check", "metrics", stdin=reply.body)
    assert families(everything()) == families(reply.body)
    ((found, one),) = samples(reply.body, "bearerd_build_info").items()
    assert (__version__, 1.0) == (dict(found)["version"], one)
    ready = [samples(reply.body, f"bearerd_{name}")[()] for name in ("ready", "draining", "workers_wanted")]
    assert [1.0, 0.0, 0.0] == ready


async def test_no_call_opens_series(home: House) -> None:
    """Paths, methods, keys, hosts and headers that nobody knows, 300 of them, come to a handful of series."""
    await home.call("GET", "/questrade/v1/accounts")
    before = {name: len(found) for name, found in samples_by_name(home.app.rendered_metrics()).items()}
    for number in range(60):
        await home.call(f"X{number}", f"/questrade/v1/accounts/{number}", key=f"brd_{number}")
        await home.call("GET", f"/mount{number}/v1/{number}")
        await home.call("GET", f"/questrade/v1/nothing/{number}", f"traceparent: {number}", f"X-Request-Id: r{number}")
        await home.call("GET", f"/questrade/v1/accounts/{number:08}/balances?a={number}")
        await home.call("GET", "/questrade/v1/accounts", f"Host: h{number}.example")
    after = {name: len(found) for name, found in samples_by_name(home.app.rendered_metrics()).items()}
    opened = {name: after[name] - before.get(name, 0) for name in after if after[name] != before.get(name, 0)}
    assert set(opened) <= {
        "bearerd_requests_total", "bearerd_denials_total", "bearerd_request_seconds_bucket",
        "bearerd_request_seconds_sum", "bearerd_request_seconds_count", "bearerd_upstream_answers_total",
    }  # fmt: skip
    assert (True, True) == (opened["bearerd_requests_total"] <= 8, opened["bearerd_denials_total"] <= 6)
    assert opened.get("bearerd_upstream_answers_total", 0) <= 2  # of a mount, by class


def test_the_page_has_every_metric() -> None:
    """`docs/monitoring.md` has a row for each, with its type, its labels and what it says, and no other."""
    rows = re.findall(r"^\| `(bearerd_\w+)` \| (\w+) \|(.*?)\| (.+?) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    shown = {name: (kind, frozenset(re.findall(r"`(\w+)`", named))) for name, kind, named, _ in rows}
    found = labels()
    told = {
        name: (kind, (found.get(name) or found.get(f"{name}_bucket") or frozenset()) - {"le"})
        for name, (kind, _) in families(everything()).items()
    }
    assert told == shown
    assert len(rows) == len(shown)


def test_names_keep_prometheus_rules() -> None:
    """One prefix; `_total` for counters alone; base units, at the end; a text for people; no label repeats the name."""
    for name, (kind, text) in families(everything()).items():
        assert re.fullmatch(r"bearerd(_[a-z0-9]+)+", name)
        assert (kind == "counter") == name.endswith("_total")
        assert not name.endswith(("_count", "_sum", "_bucket"))
        assert not re.search(r"_(ms|millis\w+|minutes|hours|kilo\w+|mb|percent|gauge|counter|histogram)(_|$)", name)
        assert ("timestamp" in name) == name.endswith("_timestamp_seconds")
        assert kind != "histogram" or name.endswith("_seconds")
        assert text, name
        assert not text.endswith("."), name
        assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", label) for label in labels().get(name, ()))


async def test_health_is_told_in_three_ways(home: House) -> None:
    """Alive and ready, with a line for each thing if asked; without a login alive only, and the metric agrees."""
    replies = [await _get(home, path) for path in ("/livez", "/healthz", "/readyz", "/readyz?verbose")]
    assert [200] * 4 == [reply.status for reply in replies]
    assert [b"ok\n"] * 3 == [reply.body for reply in replies[:3]]
    assert b"[+]store ok\n[+]grant questrade fresh\nok\n" == replies[3].body

    await home.app.operations.revoke("questrade")
    alive, ready = await _get(home, "/livez"), await _get(home, "/readyz")
    assert (200, 503, b"needs-login\n") == (alive.status, ready.status, ready.body)
    assert {(): 0.0} == samples(home.app.rendered_metrics(), "bearerd_ready")


async def test_a_server_that_drains_is_alive_and_not_ready(home: House) -> None:
    """A load balancer looks elsewhere, and nobody restarts it."""
    home.app.stopping = True
    alive, ready = await _get(home, "/livez"), await _get(home, "/readyz")
    assert (200, 503, b"draining\n") == (alive.status, ready.status, ready.body)
    text = home.app.rendered_metrics()
    assert ({(): 0.0}, {(): 1.0}) == (samples(text, "bearerd_ready"), samples(text, "bearerd_draining"))
    home.app.stopping = False


async def test_a_member_is_enough_to_be_ready(state_dir: Path) -> None:
    """A grant whose members are logged in need not be so itself: there are calls to be served."""
    async with house(state_dir, CONSOLE, login=False) as home:
        assert 503 == (await _get(home, "/readyz")).status
        await home.app.operations.login("questrade/anna", home.simulator.links().refresh_token or "")
        assert 200 == (await _get(home, "/readyz")).status
        assert {(): 1.0} == samples(home.app.rendered_metrics(), "bearerd_ready")


async def test_workers_are_seen(tmp_path: Path) -> None:
    """How many serve, and what they do. Their spans come too: a worker knows no collector, custody sends them."""
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    async with receiving() as receiver, staffed(tmp_path, more={"tracing": {"endpoint": receiver.url}}) as staff:
        ready = await ask(staff.console, "GET", "/readyz?verbose")
        assert (200, True) == (ready.status, b"[+]workers 2 of 2" in ready.body)
        for _ in range(6):
            assert 200 == (await staff.ask(ACCOUNTS, traceparent=parent)).status
        spans = await receiver.until(12)
        assert {parent.split("-")[2]} == {span.parent for span in spans if span.kind == "server"}
        assert {parent.split("-")[1]} == {span.trace_id for span in spans}
        assert "bearerd" == receiver.resource["service.name"]
        async for _ in eventually(5):  # they count once the collector has said that it has them
            if 12 == await staff.counted("bearerd_trace_spans_total"):
                break
        assert 12 == await staff.counted("bearerd_trace_spans_total")
        counts = [await staff.counted(f"bearerd_workers_{name}") for name in ("wanted", "ready", "ended_total")]
        assert [2, 2, 0] == counts
