"""Which socket is on which host and path."""

import pytest

from proxy.simulator.alpaca.credentials import Host
from tests.simulator.alpaca.support import DATA, LIVE, PAPER, STREAM, Client


@pytest.mark.parametrize(
    ("host", "path", "there"),
    [
        (PAPER, "/stream", True),
        (LIVE, "/stream/", True),
        (PAPER, "/v2/iex", False),
        (STREAM, "/v2/iex", True),
        (STREAM, "/stream", False),
        (STREAM, "/v1beta1/events/corporate-actions", False),
        (DATA, "/v2/iex", False),
    ],
)
async def test_a_path_without_a_socket_is_a_call_like_any_other(
    client: Client, host: Host, path: str, there: bool
) -> None:
    """A handshake elsewhere is answered as any GET is."""
    headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
               "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="}  # fmt: skip
    url = client.alpaca.url(host) + path
    async with client.session.get(url, headers={**client.credential(host), **headers}) as answer:
        assert there is (answer.status == 101)
