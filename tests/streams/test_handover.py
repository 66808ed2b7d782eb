"""Tradier's sessions: whose they are, and where their streams go on."""

import json
from typing import Any

import pytest

from proxy.clock import Now, SystemClock
from proxy.gate.clients import Client, digest
from proxy.streams.handover import CONNECT_WITHIN, Session, Sessions, StreamUrls
from tests import lab
from tests.wire import Reply, Visit, answer

BOT = Client("bot", {})
ROW = """\
  - {id: session, method: POST, path: /v1/events/session, scope: read, mutating: true, rewrites: stream_url}
"""
URL, HERE = "https://stream.tradier.com/v1/markets/events", "/lab-stream/v1/markets/events"


class HandClock:
    """Moved by hand."""

    wall = 1000.0

    def now(self) -> Now:
        return Now(self.wall, self.wall)


def _session(ends: float = 1000.0 + CONNECT_WITHIN) -> Session:
    return Session(BOT, "d", "m", "g", ends)


def test_a_session_ends_unless_somebody_connects() -> None:
    """In 5 minutes."""
    clock = HandClock()
    sessions = Sessions(clock)
    sessions.remember("SID", _session())
    clock.wall += CONNECT_WITHIN - 1
    assert None is not sessions.find("SID")
    clock.wall += 1
    assert None is sessions.find("SID")


def test_a_session_lives_while_it_is_used_and_a_while_after() -> None:
    """So that a client that is cut off may connect again."""
    clock = HandClock()
    sessions = Sessions(clock)
    sessions.remember("SID", _session())
    with sessions.used("SID"), sessions.used("never handed out"):
        clock.wall += 10 * CONNECT_WITHIN
        assert None is not sessions.find("SID")
    clock.wall += CONNECT_WITHIN - 1
    assert None is not sessions.find("SID")
    clock.wall += 1
    assert None is sessions.find("SID")


def test_sessions_have_a_limit_and_used_ones_stay() -> None:
    """Those that have waited for longest go first."""
    sessions = Sessions(HandClock(), most=3)
    sessions.remember("used", _session())
    with sessions.used("used"):
        for number in range(5):
            sessions.remember(str(number), _session())
        assert [True, False, False, False, True, True] == [
            sessions.find(text) is not None for text in ("used", "0", "1", "2", "3", "4")
        ]


async def _asked(
    answered: bytes, *headers: str, mount: str | None = "lab-stream", root: bool = False
) -> tuple[Reply, Sessions, lab.Lab]:
    """A session, asked for through a lab."""

    async def session(visit: Visit) -> None:
        await visit.read()
        await visit.write(answer(200, answered, "Content-Type: application/json", *headers))

    async with lab.running(broker=lab.definition(ROW), root=root) as it:
        sessions = Sessions(SystemClock())
        it.gateway.handovers["stream_url"] = StreamUrls(
            sessions, SystemClock(), lambda _: mount, lambda: "http://main:1"
        )
        it.broker.otherwise = session
        path = "/v1/events/session" if root else "/lab/v1/events/session"
        reply = await it.call("POST", path, "Accept-Encoding: gzip", body=b"")
        (visit,) = it.broker.visits
        assert ["identity"] == visit.all("Accept-Encoding")
        return reply, sessions, it


def _answer(**more: Any) -> bytes:
    return json.dumps({"stream": {"url": URL, "sessionid": "SID"} | more}).encode()


async def test_the_address_of_a_stream_becomes_ours() -> None:
    """Under the address that the client called; the id is known, with whose it is."""
    reply, sessions, it = await _asked(_answer())
    assert {"url": f"http://{it.host}{HERE}", "sessionid": "SID"} == reply.document["stream"]
    session = sessions.find("SID")
    assert session is not None
    assert ("bot", digest(it.key), "lab", "lab") == (session.client.name, session.digest, session.mount, session.grant)


async def test_a_mount_at_a_root_leads_to_where_the_others_are() -> None:
    """Its own port has one mount only."""
    reply, _, _ = await _asked(_answer(), root=True)
    assert f"http://main:1{HERE}" == reply.document["stream"]["url"]


@pytest.mark.parametrize(
    "answered",
    [b'{"errors":{"error":"no"}}', b"no json", b"[]", b'{"stream":"x"}', b'{"stream":{"sessionid":7}}'],
    ids=["error", "text", "list", "odd", "no-url"],
)
async def test_what_names_no_stream_passes_as_it_is(answered: bytes) -> None:
    """Byte for byte."""
    reply, sessions, _ = await _asked(answered)
    assert ((200, answered), None) == ((reply.status, reply.body), sessions.find("SID"))


async def test_without_a_mount_for_streams_nobody_is_led_to_the_broker() -> None:
    """A client would show its client key there; the id counts all the same, for the socket."""
    reply, sessions, it = await _asked(_answer(), mount=None)
    elsewhere = HERE.replace("/lab-stream/", "/no-lab-stream-mount/")
    assert {"url": f"http://{it.host}{elsewhere}", "sessionid": "SID"} == reply.document["stream"]
    assert sessions.find("SID") is not None


@pytest.mark.parametrize(
    ("answered", "header"),
    [
        (_answer(url="https://"), "X: y"),
        (_answer(url="https://x.example/../other/v1"), "X: y"),
        (_answer(url="https://x.example/v1/%2E%2e/other"), "X: y"),
        (_answer(url="https://x.example//evil.example"), "X: y"),
        (_answer(), "Content-Encoding: gzip"),
    ],
    ids=["no-host", "upwards", "upwards-hidden", "another-host", "packed"],
)
async def test_an_answer_that_cannot_be_read_is_withheld(answered: bytes, header: str) -> None:
    """A client must not be led anywhere by it."""
    reply, _, _ = await _asked(answered, header)
    assert (502, "bad-answer") == reply.problem
