"""Where sockets come in."""

import dataclasses
import gzip
import json

import aiohttp
import pytest

from proxy.gate.guards import Book, Guards
from proxy.gate.rows import Row
from proxy.gate.scopes import ScopeTable
from tests import lab
from tests.streams import test_relayed_dialects as dialects
from tests.streams.echo import desk, handshake


async def test_a_dialect_that_nobody_speaks_is_refused() -> None:
    """Before the broker hears of it."""
    async with desk() as it:
        it.lab.gateway.entrance.speakers.clear()
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await it.connect()
        assert (403, []) == (refused.value.status, it.broker.requests)


async def test_who_may_say_later_who_it_is() -> None:
    """A socket of a dialect that allows it, without any key; everybody else is asked at once."""
    async with desk() as it:
        gateway = it.lab.gateway
        gateway.entrance.late = frozenset()
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await it.connect("/stream", headers={})
        assert 401 == refused.value.status
        gateway.entrance.late = frozenset({"alpaca-trading"})
        for headers in ({}, {"Authorization": ""}, {"APCA-API-KEY-ID": "", "APCA-API-SECRET-KEY": ""}):
            socket = await it.connect("/stream", headers=headers)
            await socket.close()
        assert [] == it.broker.requests


@pytest.mark.parametrize("head", [False, True], ids=["frame", "head"])
async def test_a_client_key_in_the_address_goes_nowhere(head: bool) -> None:
    """Brokers write down what they are asked for."""
    async with desk() as it:
        key = it.lab.key
        target = f"/lab/{'v1/socket' if head else 'stream'}?key={key}"
        reply = await it.lab.call("GET", target, *handshake(it.auth if head else {}), key="")
        assert ((400, "bad-request"), []) == (reply.problem, it.broker.requests)


async def test_a_location_of_the_broker_leads_to_the_mount_or_nowhere() -> None:
    """As in any answer: nobody is led away with a key in its hands."""
    async with desk() as it:
        it.broker.refusals.append((301, b""))
        it.broker.headers["Location"] = f"https://127.0.0.1:{it.broker.port}/v1/elsewhere"
        reply = await it.lab.call("GET", "/lab/v1/socket", *handshake(), key=it.lab.key)
        assert (301, f"http://{it.lab.host}/lab/v1/elsewhere") == (reply.status, reply.one("Location"))


async def test_a_refusal_is_asked_for_as_it_can_be_read() -> None:
    """Else neither a refused token nor our credential would be found in it."""
    async with desk() as it:
        packed = {"Accept-Encoding": "gzip, deflate"}
        it.broker.refusals.append((401, json.dumps(lab.REFUSED).encode()))
        socket = await it.connect(headers=it.auth | packed)
        await socket.close()
        assert ["identity"] * 2 == [request.headers["Accept-Encoding"] for request in it.broker.requests]
        it.broker.headers["Content-Encoding"] = "gzip"
        it.broker.refusals.append((403, gzip.compress(lab.access_token(2).encode())))
        reply = await it.lab.call("GET", "/lab/v1/socket", *handshake(it.auth, packed), key="")
        assert (502, "bad-answer") == reply.problem


@pytest.mark.parametrize(("account", "passes"), [("123", True), ("124", False)], ids=["named", "another"])
@pytest.mark.parametrize("late", [False, True], ids=["head", "frame"])
async def test_the_guards_of_accounts_hold_for_sockets_too(late: bool, account: str, passes: bool) -> None:
    """A path that names an account which is not allowed opens nothing, whenever its client says who it is."""
    async with desk(dialects.alpaca) as it:
        row = Row("s", "GET", "/v1/{account}/socket", "read", websocket=True, account_captures=("account",))
        row = dataclasses.replace(row, speaks="alpaca-trading")
        it.lab.change_mount(table=ScopeTable((row,), {"account": "[0-9]{1,9}"}))
        it.lab.change(guards=Book({"lab": Guards("mounts.lab.guards", accounts=frozenset({"123"}))}))
        path = f"/v1/{account}/socket"
        if late:
            socket = await it.connect(path, headers={}, autoclose=False)
            await socket.send_json({"action": "auth", "key": "x", "secret": it.lab.key})
            assert (dialects.YES if passes else dialects.NO) == await socket.receive_str()
            assert passes or 4403 == (await socket.receive(timeout=3)).data
            await socket.close()
        elif passes:
            await (await it.connect(path)).close()
        else:
            reply = await it.lab.call("GET", f"/lab{path}", *handshake(it.auth), key="")
            assert (403, "guard-denied") == reply.problem
        assert passes == bool(it.broker.requests)
