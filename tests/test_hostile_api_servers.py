"""A token answer that names a hostile API server: nobody is called, both tokens are kept, and a person is told.

Every connection and every look-up of a name in this process is heard, and somebody listens at an address that is named.
"""

import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from proxy.tokens.oauth import RawAnswer
from tests.lab import REFUSED, TRUST, Lab, access_token, running
from tests.wire import ScriptedBroker, Visit

ELSEWHERE = "127.0.0.2"  # of this machine, and outside the pin of the lab


class Ears:
    """Hears what this process connects to and whose address it asks for."""

    def __init__(self) -> None:
        self.heard: list[str] | None = None
        sys.addaudithook(self._hook)  # for the rest of the process: there is no way to take it out

    def _hook(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.heard is not None and event in ("socket.connect", "socket.getaddrinfo"):
            self.heard.append(repr(arguments[1] if event == "socket.connect" else arguments[0]))

    @contextmanager
    def listening(self) -> Iterator[list[str]]:
        heard: list[str] = []
        self.heard = heard
        try:
            yield heard
        finally:
            self.heard = None


EARS = Ears()


def hostile(port: int, own: int) -> list[object]:
    """Values that would lead to `ELSEWHERE` at `port`, or away from the broker at `own`, if they were misread."""
    there, here = f"{ELSEWHERE}:{port}", f"127.0.0.1:{own}"
    return [
        f"https://{there}", f"https://{there}/", f"https://{there}/v1", f"https://{there}/v1/", f"http://{there}/",
        f"http://{here}/", f"//{there}/", there, f"https:{there}", f"https:/{there}", f"https:///{there}",
        f"https:\\\\{there}\\", f"HTTPS://{there}/", f"wss://{there}/", f"https://{here}@{there}/",
        f"https://127.0.0.1:@{there}/", f"https://127.0.0.1@{there}/", f"https://a:b@{there}/", f"https://a@{here}/",
        f"https://{here}/@{there}", f"https://{here}?@{there}/", f"https://{here}#@{there}/",
        f"https://{here}\\@{there}/", f"https://{here}//{there}/", f"https://{here}/..//{there}/",
        f"https://{here}/\\{there}/", f"https://{there}#{here}", f"https://{there}?{here}", f"https://{there}/{here}",
        f"https://{there}\\{here}", f"https://{there};{here}", f"https://{there}\n{here}/",
        f"https://{here}\r\nHost: {there}/", f"https://{here}\t@{there}/", f" https://{there}/", f"https://{there} /",
        f"https://{here}%40{there}/", f"https://{here}%2f@{there}",
        f"https://{here}.{ELSEWHERE}/", f"https://127.0.0.1.{ELSEWHERE}:{port}/", f"https://127.0.2:{port}/",
        f"https://127.2:{port}/", f"https://2130706434:{port}/", f"https://0x7f000002:{port}/",
        f"https://0177.0.0.2:{port}/", f"https://0x7f.0.0.2:{port}/", f"https://127.0.0.02:{port}/",
        f"https://[::ffff:127.0.0.2]:{port}/", f"https://[::ffff:7f00:2]:{port}/", f"https://{ELSEWHERE}.:{port}/",
        f"https://\uff11\uff12\uff17.0.0.2:{port}/", f"https://127\u30020\u30020\u30022:{port}/",
        f"https://127.0.0.\u0662:{port}/", f"https://{ELSEWHERE}:\u0664\u0664\u0663/",
        f"https://{ELSEWHERE}%00:{port}/", f"https://\u200b{there}/", f"\ufeffhttps://{there}/",
        f"https://%31%32%37.0.0.2:{port}/", f"https://localhost:{port}/", f"https://localhost.:{own}/",
        f"https://127.0.0.1:{own}/v2/", f"https://[127.0.0.2]:{port}/", f"https://{there},https://{here}/",
        [f"https://{there}/"], {"host": there}, {"https": f"https://{there}/"}, port, True, "/", "https://",
        "*", f"https://{here}/" * 2,
    ]  # fmt: skip


@asynccontextmanager
async def sinkhole() -> AsyncIterator[ScriptedBroker]:
    """A listener with the certificate that the lab trusts, where nobody may ever call."""
    found = ScriptedBroker(TRUST.tls)
    await found.start(host=ELSEWHERE)
    try:
        yield found
    finally:
        await found.stop()


async def refused(visit: Visit) -> None:
    await visit.read()
    await visit.json(REFUSED, 401)


async def answer_to(lab: Lab, value: object) -> tuple[int, str]:
    """What a call gets whose token is refused, and renewed by an answer that names `value`."""
    pair = {
        "access_token": access_token(2), "api_server": value, "expires_in": 1800, "refresh_token": "refresh-2",
        "token_type": "Bearer",
    }  # fmt: skip
    lab.desk.answers = [RawAnswer(200, "application/json", json.dumps(pair).encode())]
    lab.broker.script = [refused]
    reply = await lab.call("GET", "/lab/v1/accounts")
    return reply.status, reply.document.get("message", "")


async def faults_of(value: object) -> list[str]:
    """What was wrong with how one value was handled."""
    async with running() as lab:
        with EARS.listening() as heard:
            status, message = await answer_to(lab, value)
        grant = lab.keeper._held.grant
        kept = (grant.generation, grant.refresh_token and grant.refresh_token.reveal())
        ours = {repr(("127.0.0.1", port)) for port in (lab.port, lab.broker.port)}
        found = {
            f"{status} {message}": status == 503 and "nothing is sent there" in message,
            f"status says {lab.keeper.standing().reason}": "nothing is sent there" in lab.keeper.standing().reason,
            f"kept {kept}": kept == (2, "refresh-2"),
            f"called {set(heard) - ours}": set(heard) <= ours,
            f"the broker was called {len(lab.broker.visits)} times": len(lab.broker.visits) == 1,
        }
    return [f"{value!r}: {fault}" for fault, fine in found.items() if not fine]


async def test_no_hostile_api_server_is_called(figure: Callable[[object], None]) -> None:
    """The call is refused, nothing else leaves, both tokens are kept, and `status` says what is wrong."""
    faults: list[str] = []
    async with sinkhole() as hole:
        values = hostile(hole.port, 9)
        faults += [fault for value in values for fault in await faults_of(value)]
        assert (0, []) == (hole.connections, hole.visits)
    assert not faults, "\n".join(faults)
    assert 60 <= len(values)
    figure(f"{len(values)} values, 0 connections, 0 look-ups")


async def test_what_is_heard_is_everything() -> None:
    """A value that the pin takes is called, and heard: the ears are no deaf ones."""
    async with sinkhole() as hole, running() as lab:
        with EARS.listening() as heard:
            status, _ = await answer_to(lab, f"https://127.0.0.1:{lab.broker.port}/v1/")
        assert (200, 0) == (status, hole.connections)
        assert repr(("127.0.0.1", lab.broker.port)) in heard
        assert [access_token(1), access_token(2)] == [visit.bearer for visit in lab.broker.visits]
