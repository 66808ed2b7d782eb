"""A request body that comes in pieces, sent beside the answer: a broker may answer before it has all of it."""

import asyncio

from proxy.outbound import NO_ANSWER, Lost
from proxy.relay.pool.connection import Connection
from proxy.relay.upstream import Upload


class Sending:
    """One body on its way. Holds the task that sends it, and sees it end; it ends with its connection at the latest."""

    def __init__(self, upload: Upload, connection: Connection) -> None:
        self._upload = upload
        self._connection = connection
        connection.sending = self
        self._task = asyncio.get_running_loop().create_task(self._send())

    def stop(self) -> None:
        """Nobody takes the rest."""
        if self._task is not asyncio.current_task():
            self._task.cancel()

    async def _send(self) -> None:
        """Whatever ends it early, the broker must not take what it has got for the whole: the connection is cut."""
        try:
            await self._pieces()
        except Lost:
            return  # who waits for the answer knows
        except Exception:  # noqa: BLE001  the upload has kept what it was; whoever waits gets `Lost`
            self._connection.give_up(Lost(NO_ANSWER))
            return
        self._connection.uploaded()

    async def _pieces(self) -> None:
        length, sent = self._upload.length, 0
        async for piece in self._upload:
            sent += len(piece)
            if length is not None and sent > length:
                raise ValueError("more than was promised")
            if piece:
                await self._connection.upload(piece if length is not None else b"%x\r\n%b\r\n" % (len(piece), piece))
        if length is None:
            await self._connection.upload(b"0\r\n\r\n")
        elif sent < length:
            raise ValueError("less than was promised")
