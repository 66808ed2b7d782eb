"""What a data hub is measured against: a relay written with aiohttp, one socket at the broker for each client.

It knows no clients, no scopes and no limits, keeps no record and looks at no frame. The credential is the first line on
stdin; the port that it listens on is the first line on stdout.
"""

import asyncio
import ssl
import sys
from contextlib import suppress

import aiohttp
from aiohttp import web


async def main(upstream: str, ca_file: str, pair: str) -> None:
    """Serve until the process is ended."""
    tls = ssl.create_default_context(cafile=ca_file)
    key, _, secret = pair.partition(":")
    headers = {"APCA-API-KEY-ID": key, "APCA-API-SECRET-KEY": secret}
    connector = aiohttp.TCPConnector(ssl=tls, limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def relay(request: web.BaseRequest) -> web.StreamResponse:
            client = web.WebSocketResponse()
            await client.prepare(request)
            kind = {name: request.headers[name] for name in ("Content-Type",) if name in request.headers}
            async with (
                session.ws_connect(upstream, headers={**headers, **kind}) as broker,
                asyncio.TaskGroup() as group,
            ):
                down = group.create_task(_pass_on(broker, client))
                await _pass_on(client, broker)
                down.cancel()
            return client

        runner = web.ServerRunner(web.Server(relay))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        print(runner.addresses[0][1], flush=True)
        await asyncio.Event().wait()


Socket = web.WebSocketResponse | aiohttp.ClientWebSocketResponse[bool]


async def _pass_on(source: Socket, target: Socket) -> None:
    with suppress(ConnectionError):
        async for message in source:
            if message.type is aiohttp.WSMsgType.BINARY:
                await target.send_bytes(message.data)
            elif message.type is aiohttp.WSMsgType.TEXT:
                await target.send_str(message.data)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], input()))
