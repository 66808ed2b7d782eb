"""A broker's token endpoint, as its clients know it, answered here and never forwarded.

A client that believes it is refreshing sends its client key as the refresh token and gets the same key back as both
tokens, with an API server that points at the mount. What was sent is never echoed unless it is a client key that we
know: it may be a real refresh token.
"""

import asyncio
import json
from urllib.parse import parse_qsl

from aiohttp import web

from proxy.brokers import Broker
from proxy.errors import Refusal
from proxy.gate.clients import presented
from proxy.gate.target import Target
from proxy.intake import read_whole

ROW = "the emulated token endpoint"
DUMMY = "local"  # what a client gets where no keys are needed
LIFE = 1800  # seconds; what Questrade answers (live captures)
LARGEST_FORM = 8192


def concerns(broker: Broker, method: str, wanted: Target) -> bool:
    """Whether this call is for the broker's token endpoint, in one of the two methods that clients use."""
    path = broker.emulated_token_path
    return path is not None and method in ("GET", "POST") and wanted.path == path.encode()


async def key_of(request: web.BaseRequest, wanted: Target, *, patience: float) -> str | None:
    """The client key: `refresh_token` in the query or in a form body, else wherever other calls carry it.

    A body is read before anybody knows who is asking, so `patience`, in seconds, is for all of it.
    """
    sent = _field(wanted.query or b"")
    if sent is None and request.method == "POST":
        try:
            async with asyncio.timeout(patience):
                sent = _field(await read_whole(request, LARGEST_FORM, patience=patience))
        except TimeoutError:
            raise Refusal("slow-request", f"The form was not here within {patience:g} s.", close=True) from None
    if sent is not None:
        return sent
    key = presented(request.raw_headers)
    return key.reveal() if key else None


def _field(form: bytes) -> str | None:
    try:
        pairs = parse_qsl(form.decode("ascii"), keep_blank_values=True, max_num_fields=16)
    except ValueError:
        return None
    return next((value for name, value in pairs if name == "refresh_token"), None)


def answer(key: str, mount_url: str, request_id: str) -> web.Response:
    """The five fields of a token answer, and no sixth: qtrade raises `TypeError` for any other.

    The API server ends in a slash, because most clients append `v1/…` to it as it is.
    """
    body = {
        "access_token": key,
        "api_server": f"{mount_url}/",
        "expires_in": LIFE,
        "refresh_token": key,
        "token_type": "Bearer",
    }
    headers = {
        "Server": "bearerd",
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "X-Request-Id": request_id,
    }
    return web.Response(body=json.dumps(body).encode(), content_type="application/json", headers=headers)
