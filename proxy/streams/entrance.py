"""Where a WebSocket comes in: the gate's last words on its handshake, and who it is, where only its first frame says.

A socket without a key in its head is matched first. What is wrong with it then is still only told to those who have a
key: to everybody else it is an unknown client.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from aiohttp import web

from proxy.admission import Called, Mount, Visit, base_url, hold_to_certificate, matched, permit
from proxy.audit import record as audit
from proxy.audit.calls import Calls
from proxy.clock import Clock
from proxy.errors import Refusal
from proxy.gate import bodies, guards
from proxy.gate.clients import Client, digest, grant_for, presented
from proxy.gate.orders import Written
from proxy.gate.target import Target
from proxy.relay import answerhead
from proxy.relay import headers as header_rules
from proxy.relay.dialling import HandshakeRefused
from proxy.relay.http import Exchange
from proxy.sockets import cut_off
from proxy.streams import dialects
from proxy.streams.opening import Opening
from proxy.streams.register import OpenStream, Streams

Speaker = Callable[[Opening], Awaitable[web.StreamResponse]]


class Entrance:
    """Lets sockets in. `speakers`: who serves which dialect; `late`: dialects whose first frame may say who it is."""

    def __init__(self, streams: Streams, calls: Calls, clock: Clock) -> None:
        self.speakers: dict[str, Speaker] = {}
        self.late: frozenset[str] = frozenset()
        self._streams = streams
        self._calls = calls
        self._clock = clock

    def latecomer(self, visit: Visit, mount: Mount | None, wanted: Target | Refusal) -> Called | None:
        """What a socket without a key calls, if it may say later who it is; None: it is like any other call."""
        headers, keyring = visit.request.raw_headers, visit.policy.keyring
        if mount is None or isinstance(wanted, Refusal) or keyring.open_to_all:
            return None
        if not header_rules.asks_for_websocket(headers) or presented(headers) is not None:
            return None
        try:
            header_rules.check(headers)
            match = matched(mount, visit.request.method, wanted)
        except Refusal:
            return None
        late = match.row.websocket and not match.row.deny and match.row.speaks in self.late
        return Called(mount, wanted, match) if late else None

    async def open(
        self, visit: Visit, called: Called, client: Client | None, speaker: Speaker | None = None
    ) -> web.StreamResponse:
        """Serve the socket; returns when it has ended. Raises `Refusal` as long as there was no 101.

        `speaker`: who serves it, where its row does not say.
        """
        request, mount, row = visit.request, called.mount, called.match.row
        speaker = speaker or self.speakers.get(row.speaks)
        if speaker is None:
            raise Refusal("scope-denied", f"Nobody here speaks the sockets of {row.path}.")
        subprotocols = header_rules.check_handshake(request.raw_headers)
        if mount.relay.placement.kind == "query":
            bodies.query_must_not_name(called.wanted.query, mount.relay.placement.names[0])
        if dialects.holds_key(called.wanted.sent):
            detail = "A client key stands in the address, which goes on to the broker."
            raise Refusal("bad-request", detail, fix="send it as `Authorization: Bearer KEY`", close=True)
        if client is None:
            visit.record.mount = mount.name
            audit.matched(visit.record, row, called.match.captures)
        else:
            _guard(visit, called, client)
        opening = Opening(
            request=request,
            mount=mount.name,
            row=row,
            relay=mount.relay,
            target=called.wanted.sent_as(row.sent(called.wanted.path)),
            headers=_for_broker(visit, mount),
            subprotocols=subprotocols,
            record=visit.record,
            limits=visit.policy.sockets,
            streams=self._streams,
            calls=self._calls,
            identify=lambda opening, key, known: self._admit(visit, called, opening, key, known),
            now=visit.now,
            client=client,
            digest=digest_of(visit) if client is not None else None,
        )
        try:
            return await speaker(opening)
        except HandshakeRefused as refused:
            return _passed_on(visit, called, refused)

    @contextmanager
    def streaming(self, visit: Visit, called: Called, client: Client, exchange: Exchange) -> Iterator[None]:
        """An HTTP answer without end is open within the block. It can only be told to end by being cut off."""
        request, record = visit.request, visit.record
        record.traffic = traffic = audit.Traffic()

        def end(code: int, _reason: str) -> None:
            traffic.code = code
            if request.transport is not None:
                cut_off(request.transport)

        stream = OpenStream(
            called.mount.name,
            client,
            called.match.row,
            digest_of(visit),
            "http",
            visit.now,
            end,
            grant=record.grant or "",
            traffic=traffic,
        )
        with self._streams.enter(stream):
            record.outcome = "broker"
            self._calls.begun(record)
            record.outcome = "aborted"  # until it has come to its end
            try:
                yield
            finally:
                traffic.down_bytes = exchange.passed

    def _admit(self, visit: Visit, called: Called, opening: Opening, key: str | None, known: str | None) -> None:
        """The same questions that are put to a key in the head. `known`: the digest of a key that was shown before."""
        keyring, now = visit.policy.keyring, self._clock.now().wall
        client = keyring.identify_key(key, now) if known is None else keyring.holder(known, now)
        visit.record.client = client.name
        hold_to_certificate(visit.policy, visit.door, visit.request.transport, client)
        permit(called.mount, client, called.match.row)
        _guard(visit, called, client)
        visit.record.grant = grant_for(client, called.mount.relay.grant)
        opening.client = client
        opening.digest = known or (digest(key) if key else None)


def _for_broker(visit: Visit, mount: Mount) -> header_rules.Text:
    """The headers of a handshake at the broker."""
    raw, number = visit.request.raw_headers, visit.record.request_id
    sent = header_rules.to_broker(raw, also=mount.also, user_agent=mount.user_agent, request_id=number)
    if visit.record.trace is not None:
        sent = visit.record.trace.headers(sent)
    # A refusal is read here: does it speak of the token, does it hold our credential?
    return header_rules.unpacked(sent)


def _guard(visit: Visit, called: Called, client: Client) -> None:
    """What the operator's guards say of a handshake. It orders nothing, so they can only mind the account."""
    if asked := visit.policy.guards.of(called.mount.name, client.name):
        written = Written(called.match.captures, called.wanted.query, b"", visit.request.raw_headers)
        guards.check(asked, guards.Call(called.match.row, written), guards.Tempo(), wall=visit.now, boot=0.0)


def digest_of(visit: Visit) -> str | None:
    """That of the key in the head; None where none is asked for."""
    if visit.policy.keyring.open_to_all:
        return None
    key = presented(visit.request.raw_headers)
    return digest(key.reveal()) if key else None


def _passed_on(visit: Visit, called: Called, refused: HandshakeRefused) -> web.Response:
    """The broker's own answer, where it opened no socket."""
    visit.record.outcome = "broker"
    response = web.Response(status=refused.status, body=refused.body)
    response.headers.clear()
    kept = answerhead.to_client(
        refused.headers,
        origin=refused.origin,
        mount_url=base_url(visit.door, visit.request.transport, visit.request.raw_headers, called.mount.name),
        request_id=visit.record.request_id,
        last=True,
    )
    for name, value in answerhead.as_text(kept):
        response.headers.add(name, value)
    response.force_close()
    return response
