"""Posts one notice to one webhook. No bearer is at hand here: the session is its own, and lives for one request."""

import asyncio
import contextlib
import re
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

import aiohttp
from yarl import URL

from proxy import __version__
from proxy.alerts.notice import Answer
from proxy.hooks import Webhook
from proxy.outbound import Lost, NotSent, own_errors, session, tls_context

LARGEST = 4096  # bytes of an answer that are read
READ = 0.5  # seconds for them: the status has told already how it went
LOOKUPS = 4  # names that are looked up at a time

Lookup = Callable[..., Any]


class Names:
    """Looks names up in threads of its own: no call waits for one of them, and no stop. `lookup` is the system's."""

    def __init__(self, lookup: Lookup = socket.getaddrinfo) -> None:
        self._lookup = lookup
        self._room = threading.Semaphore(LOOKUPS)

    async def getaddrinfo(self, host: str, port: int, **about: int) -> list[Any]:
        """As the loop's. `OSError`."""
        if not self._room.acquire(blocking=False):
            raise OSError(None, "name servers do not answer")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[Any]] = loop.create_future()

        def tell(found: list[Any] | None, error: OSError | None) -> None:
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(found or [])

        def look() -> None:
            found, error = None, None
            try:
                found = self._lookup(host, port, **about)
            except OSError as fault:
                error = fault
            except UnicodeError:
                error = OSError(None, "it is no name")
            finally:
                self._room.release()
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(tell, found, error)

        threading.Thread(target=look, name="alert-names", daemon=True).start()
        return await future

    async def getnameinfo(self, address: Any, flags: int = 0) -> tuple[str, str]:
        """Of an address that is written out."""
        return socket.getnameinfo(address, flags | socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)


async def post(way: Webhook, body: bytes, signed: Mapping[str, str], timeout: float, names: Names) -> Answer:  # noqa: ASYNC109
    """Post it once, within `timeout` seconds. Never raises for what the other end does."""
    began = asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout(timeout):
            answer = await _post(way, body, signed, names)
    except TimeoutError:
        answer = Answer(ok=False, said=f"no answer within {timeout:g} s")
    except (NotSent, Lost) as error:
        answer = Answer(ok=False, said=str(error))
    except (OSError, ssl.SSLError):
        answer = Answer(ok=False, said="the ca_file cannot be read")
    seconds = asyncio.get_running_loop().time() - began
    return Answer(answer.ok, answer.said, seconds, answer.again, answer.retry_after, answer.output)


async def _post(way: Webhook, body: bytes, signed: Mapping[str, str], names: Names) -> Answer:
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"bearerd/{__version__}",
        "Accept-Encoding": "identity",
        **signed,
    }
    tls = await tls_context(way.ca_file)
    # The operator has chosen this host, and it may well be on a private network.
    client = session(
        tls, keep_alive=None, private_hosts={way.host}, egress=way.egress, unix_socket=way.socket, names=names
    )
    async with client:
        with own_errors():
            answer = await client.post(
                URL(way.url.reveal(), encoded=True), data=body, headers=headers, allow_redirects=False
            )
        try:
            output = await _beginning(answer)
        finally:
            answer.close()
    return judged(answer.status, answer.headers.get("Retry-After", ""), output)


async def _beginning(answer: aiohttp.ClientResponse) -> bytes:
    """A little of the body, if it comes soon."""
    found = bytearray()
    with contextlib.suppress(TimeoutError, Lost, NotSent):
        async with asyncio.timeout(READ):
            with own_errors():
                while len(found) < LARGEST and (more := await answer.content.read(LARGEST - len(found))):
                    found += more
    return bytes(found)


def judged(status: int, retry_after: str, output: bytes) -> Answer:
    """What an answer means. Its body means nothing."""
    try:
        said = f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        said = str(status)
    text = output.decode("utf-8", "replace")
    if 200 <= status < 300:  # noqa: PLR2004
        return Answer(ok=True, said=said, output=text)
    if 300 <= status < 400:  # noqa: PLR2004
        said += ", and redirects are not followed"
    wait = float(retry_after) if re.fullmatch("[0-9]{1,6}", retry_after, re.ASCII) else 0.0
    # Standard Webhooks: who answers 410 does not want to hear any more.
    return Answer(ok=False, said=said, again=status != HTTPStatus.GONE, retry_after=wait, output=text)
