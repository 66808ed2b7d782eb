"""A broker with sockets, as a program: `socketbroker.py CERTIFICATE KEY`. It prints its port.

`/v1/echo` says back what is said; `/v1/talk` talks and talks; `/v1/deaf` never reads; `/v1/bomb` sends a frame that is
small as long as it is compressed.
"""

import asyncio
import ssl
import sys
import zlib

import aiohttp
from aiohttp import web

TALK = b"x" * 65_536
BOMB = 64 << 20  # bytes that the small frame holds
_COMPRESSED_BINARY, _LONG = 0xC2, 127


def bomb(size: int) -> bytes:
    """A frame as a server sends it: zeros, compressed to a thousandth."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    payload = (packer.compress(bytes(size)) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]
    return bytes((_COMPRESSED_BINARY, _LONG)) + len(payload).to_bytes(8, "big") + payload


SMALL_BOMB = bomb(BOMB)


async def handle(request: web.BaseRequest) -> web.StreamResponse:
    """What the path says."""
    compress = request.path == "/v1/bomb"
    socket = web.WebSocketResponse(compress=compress, max_msg_size=1 << 26, timeout=0.5)
    await socket.prepare(request)
    match request.path:
        case "/v1/talk":
            while True:
                await socket.send_bytes(TALK)
        case "/v1/deaf":
            assert request.transport is not None
            request.transport.pause_reading()
            await asyncio.sleep(600)
        case "/v1/bomb":
            assert request.transport is not None
            request.transport.write(SMALL_BOMB)
            await socket.receive()
        case _:
            await echo(socket)
    return socket


async def echo(socket: web.WebSocketResponse) -> None:
    """Say back what is said."""
    async for message in socket:
        await asyncio.sleep(0)  # honest clients come here as well
        if message.type is aiohttp.WSMsgType.TEXT:
            await socket.send_str(message.data)
        elif message.type is aiohttp.WSMsgType.BINARY:
            await socket.send_bytes(message.data)


async def main(certificate: str, key: str) -> None:
    """Serve until the process is ended."""
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trust.load_cert_chain(certificate, key)
    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=trust).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
