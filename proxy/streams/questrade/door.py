"""The door of a stream port: the gate's questions, put to a handshake that names no call.

The row, the mount and whose stream it is come from the port; the path says nothing, as at the broker. Who it is stands
in the head, or in the first frame, which is the bare access token at the broker (DOC/streaming) and a client key here.
"""

from contextlib import ExitStack
from functools import partial

from aiohttp import web

from proxy.admission import Called, Visit, hold_to_certificate, permit
from proxy.audit import record as audit
from proxy.errors import Refusal
from proxy.gate.clients import KEY_PREFIX, digest, grant_for, presented
from proxy.gate.localport import StreamPort
from proxy.gate.scopes import Match
from proxy.gate.target import Target
from proxy.relay import headers as header_rules
from proxy.relay.frames import Frame, encoded
from proxy.streams import codes
from proxy.streams.client import ClientSocket, SocketEnded
from proxy.streams.entrance import Entrance
from proxy.streams.opening import Opening
from proxy.streams.questrade.ports import MOVED
from proxy.streams.questrade.streams import QuestradeStreams, source_of
from proxy.streams.register import Streams

REFUSED = '{"code":1017,"message":"Access token is invalid"}'  # seen: vivekp9991's Questrade-Portfolio-Manager

_NOWHERE = Target("", b"/", (), None)


class PortDoor:
    """Lets clients in at stream ports."""

    def __init__(self, entrance: Entrance, streams: Streams, questrade: QuestradeStreams) -> None:
        self._entrance = entrance
        self._streams = streams
        self._questrade = questrade

    def called(self, grant: str) -> None:
        """Somebody has called with this grant: the session of its sockets lives on."""
        self._questrade.called(grant)

    async def enter(self, visit: Visit, port: StreamPort) -> web.StreamResponse:
        """Serve a socket; returns when it has ended. The browser's checks have been made. `Refusal` before the 101."""
        policy, headers, record = visit.policy, visit.request.raw_headers, visit.record
        client = None
        if policy.keyring.open_to_all or presented(headers) is not None:
            client = policy.keyring.identify(headers, visit.now)
            record.client = client.name
            hold_to_certificate(policy, visit.door, visit.request.transport, client)
        header_rules.check(headers)
        header_rules.check_handshake(headers)
        mount = policy.mounts.get(port.stream.mount)
        row = next((row for row in mount.table.rows if row.id == port.stream.row), None) if mount else None
        if mount is None or row is None or visit.request.method != "GET":
            raise Refusal("unknown-mount", "This port opens a stream that there is no more.")
        called = Called(mount, _NOWHERE, Match(row, ()))
        if client is not None:
            record.mount = mount.name
            audit.matched(record, row, ())
            permit(mount, client, row)
            record.grant = grant_for(client, mount.grant)
        with port.entered():
            return await self._entrance.open(visit, called, client, speaker=partial(self._speak, called, port))

    async def _speak(self, called: Called, port: StreamPort, opening: Opening) -> web.StreamResponse:
        if opening.client is None:
            return await self._speak_late(called, port, opening)
        _check_port(port, opening)
        with opening.entered():
            socket = await opening.accept()
            with socket.served():
                await self._serve(socket, called, port, opening)
                await socket.close()
        return socket.response

    async def _speak_late(self, called: Called, port: StreamPort, opening: Opening) -> web.StreamResponse:
        """The first frame says who it is: 101 first, and refusals are close codes."""
        with ExitStack() as waiting:
            stranger = waiting.enter_context(self._streams.stranger())
            socket = await opening.accept()
            stranger.end = socket.end
            with socket.served():
                try:
                    opening.admit(_key(await socket.first()))
                    waiting.close()
                    _check_port(port, opening)
                    with opening.entered(socket):
                        opening.began()
                        await self._serve(socket, called, port, opening)
                except Refusal as refusal:
                    opening.refused(refusal)
                    _turn_away(socket, codes.of_refusal(refusal.kind), refusal.detail)
                except SocketEnded:
                    opening.missed()
                await socket.close()
        return socket.response

    async def _serve(self, socket: ClientSocket, called: Called, port: StreamPort, opening: Opening) -> None:
        if opening.client is None or not port.means(opening.client.name):
            socket.end(codes.AGAIN, MOVED)
            return

        def heard(frame: Frame) -> None:
            """A key in a frame must be the one that was let in; a dummy says nothing."""
            key = _key(frame)
            if opening.digest is not None and key.startswith(KEY_PREFIX) and digest(key) != opening.digest:
                _turn_away(socket, codes.UNKNOWN_CLIENT, "the first frame holds another client key than the call")

        source = source_of(called.mount, called.match.row, opening.grant)
        with port.held(socket.end):
            await self._questrade.serve(socket, port, source, heard)


def _check_port(port: StreamPort, opening: Opening) -> None:
    """A port is of one person's stream, which a key that stands for another has no business with."""
    if opening.grant != port.stream.grant:
        detail = "This port opens a stream of another person than the one that the key stands for."
        raise Refusal("scope-denied", detail, fix="ask for a port with this key")


def _turn_away(socket: ClientSocket, code: int, reason: str) -> None:
    if code == codes.UNKNOWN_CLIENT:
        socket.push(encoded(REFUSED))
    socket.end(code, reason)


def _key(frame: Frame) -> str:
    """What stands in a first frame: the bare key; on raw sockets with a space behind it, and some write `Bearer`."""
    text = frame if isinstance(frame, str) else frame.decode("latin-1")
    return text.strip().removeprefix("Bearer ").strip()
