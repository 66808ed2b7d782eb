"""What is a form, and what is none. What comes over the wire is in `test_actions.py`."""

import asyncio

import pytest
from aiohttp import web

from proxy.config import Tcp
from proxy.console.forms import LARGEST, TYPE, Malformed, only, query, read
from proxy.listener import Listener, open_listener


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("a=1&b=", {"a": "1", "b": ""}),
        ("a=%20x+y%0D%0A", {"a": "x y"}),
        ("a=%C3%A9", {"a": "é"}),
        ("a", {}),
        ("a=1&a=1", {}),
        ("a=%ff", {}),
        ("a=%00", {}),
        ("a=1&" * 16 + "b=2", {}),
        ("a=" + "x" * 3000, {}),
    ],
    ids=["empty", "two", "spaces", "letters", "no value", "twice", "no utf-8", "zero", "many", "long"],
)
def test_an_address_s_query(text: str, expected: dict[str, str]) -> None:
    """All of it, or nothing."""
    assert expected == query(text)


def test_only_fields_that_are_known() -> None:
    """One that does not belong there spoils the form; one that is missing is another's affair."""
    only({"a": ""}, ("a", "b"))
    with pytest.raises(Malformed, match="does not belong"):
        only({"a": "", "c": ""}, ("a", "b"))


async def answered(head: str) -> bytes:
    """What becomes of a request for which `read` waits a tenth of a second."""

    async def take(_listener: Listener, request: web.BaseRequest) -> web.Response:
        try:
            return web.Response(text=repr(await read(request, patience=0.1)))
        except Malformed as error:
            response = web.Response(status=400, text=f"{type(error).__name__}: {error}")
            response.force_close()
            return response

    listener = await open_listener(Tcp("127.0.0.1", 0), take, grace=0)
    assert isinstance(listener.bound, Tcp)
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.bound.port)
    writer.write(f"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{head}".encode("latin-1"))
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    await listener.close()
    return answer.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (f"Content-Type: {TYPE}; charset=utf-8\r\nContent-Length: 3\r\n\r\na&b", "Malformed: The form can't be read."),
        (f"Content-Type: {TYPE}\r\nContent-Length: 8\r\n\r\na=+b+%20", "{'a': 'b'}"),
        (f"Content-Type: {TYPE}\r\nContent-Length: 3\r\n\r\na=\xe9", "Malformed: The form holds raw bytes."),
        (f"Content-Type: {TYPE}\r\nContent-Length: 9\r\n\r\na=", "Malformed: The form did not arrive in time."),
        (f"Content-Type: {TYPE}\r\nContent-Length: {LARGEST + 1}\r\n\r\n", "TooLarge: The form is too long."),
        (
            f"Content-Type: {TYPE}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "Malformed: The form does not say how long it is.",
        ),
        ("Content-Length: 3\r\n\r\na=1", "Malformed: This is no form: its type is another."),
        (
            f"Content-Type: {TYPE}\r\nContent-Length: 10001\r\n\r\na={'x' * 9999}",
            "Malformed: A field of the form is too long, or holds what nobody can type.",
        ),
    ],
    ids=["no values", "good", "raw bytes", "late", "too long", "chunked", "no type", "a long field"],
)
async def test_a_form_on_the_wire(head: str, expected: str) -> None:
    """It is whole and small, and there in time, or it is none."""
    assert expected == (await answered(head)).decode()
