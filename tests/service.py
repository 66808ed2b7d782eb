"""A small server behind a listener of ours, and raw bytes to and from it."""

import asyncio

from aiohttp import web

from proxy.config import Tcp, Unix
from proxy.listener import Listener

CANARY = "c4n4ryK3y"
ANY_PORT = Tcp("127.0.0.1", 0)
HOST = b"Host: x\r\n"


class Service:
    """A handler that remembers the targets it saw and does what the target says."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()

    async def handle(self, _listener: Listener, request: web.BaseRequest) -> web.StreamResponse:
        self.seen.append(request.raw_path)
        match request.raw_path:
            case "/slow":
                self.begun.set()
                await self.go_on.wait()
            case "/bug":
                raise ValueError(CANARY)
            case "/socket":
                web_socket = web.WebSocketResponse()
                await web_socket.prepare(request)
                await web_socket.send_str(str([len(await web_socket.receive_bytes()) for _ in range(3)]))
                return web_socket
            case "/late-bug":
                response = web.StreamResponse()
                await response.prepare(request)
                await response.write(b"half an ")
                raise ValueError(CANARY)
            case "/body":
                return web.Response(body=await request.read())
            case _:
                pass
        return web.Response(text="here")


async def connect(listener: Listener) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    match listener.bound:
        case Tcp(host, port):
            return await asyncio.open_connection(host, port)
        case Unix(path):
            return await asyncio.open_unix_connection(path)


async def talk(listener: Listener, sent: bytes) -> bytes:
    """Everything that comes back until the server closes the connection, within five seconds."""
    reader, writer = await connect(listener)
    writer.write(sent)
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    return answer


def get(target: bytes, *headers: bytes) -> bytes:
    return b"GET %b HTTP/1.1\r\n%bConnection: close\r\n%b\r\n" % (target, HOST, b"".join(headers))
