"""The requests to a broker's token endpoint (RFC 6749). One request, one answer, no second try.

A refresh token goes into a form body and nowhere else: never into a URL, a log or an exception.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime

import aiohttp
from yarl import URL

from proxy.outbound import CONNECT_TIMEOUT, Lost, NotSent, own_errors, session, tls_context
from proxy.secret import Secret

TOTAL_TIMEOUT = 30.0
LARGEST_ANSWER = 8192


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """What the token endpoint said, unread. `body` is cut at 8 KiB; `retry_after` is in seconds."""

    status: int
    content_type: str
    body: bytes
    retry_after: float | None = None

    def __repr__(self) -> str:
        return f"RawAnswer({self.status}, {len(self.body)} bytes)"


def _ignore(_raw: RawAnswer) -> None:
    """For answers that bring nothing worth keeping."""


@dataclass(frozen=True, slots=True)
class TokenEndpoint:
    """Where and how one environment's tokens are asked for."""

    token_url: str
    revoke_url: str | None
    user_agent: str
    ca_file: str | None = None
    private_hosts: frozenset[str] = frozenset()
    egress: str | None = None

    async def refresh(self, refresh_token: Secret, arrived: Callable[[RawAnswer], None] = _ignore) -> RawAnswer:
        """Redeem a refresh token. Raises `NotSent` (nothing was spent) or `Lost` (it may be spent).

        `arrived` is called with the answer before anything else can run: no await lies between it and the last byte.
        """
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token.reveal()}
        return await self._post(self.token_url, form, arrived)

    async def revoke(self, token: Secret) -> RawAnswer:
        """Ask the broker to forget a token (RFC 7009). Raises `NotSent` or `Lost`."""
        if self.revoke_url is None:
            raise LookupError("this environment has no revoke endpoint")
        return await self._post(self.revoke_url, {"token": token.reveal()}, _ignore)

    async def _post(self, url: str, form: Mapping[str, str], arrived: Callable[[RawAnswer], None]) -> RawAnswer:
        try:
            tls = await tls_context(self.ca_file)
        except OSError:  # `ssl.SSLError` is one too
            raise NotSent("the environment's ca_file cannot be read") from None
        # `connect`, not `sock_connect`: a name server that hangs is part of it.
        timeout = aiohttp.ClientTimeout(total=TOTAL_TIMEOUT, connect=CONNECT_TIMEOUT, ceil_threshold=60)
        headers = {
            "User-Agent": self.user_agent,
            "Accept": "application/json",
            "Accept-Encoding": "identity",  # nobody unpacks the answer, and without this line it may come packed
            "Content-Type": "application/x-www-form-urlencoded",
        }
        async with session(tls, keep_alive=None, private_hosts=self.private_hosts, egress=self.egress) as client:
            with own_errors():
                answer = await client.post(
                    URL(url, encoded=True),
                    data=form,
                    headers=headers,
                    timeout=timeout,
                    allow_redirects=False,
                )
            try:
                body = await _read(answer)
            finally:
                answer.close()
            raw = RawAnswer(answer.status, answer.headers.get("Content-Type", ""), body)
            arrived(raw)  # before the session is closed, which gives the loop a turn, and before anything is read in it
            return replace(raw, retry_after=_retry_after(answer))


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    """What came of the body, even if it broke off: a complete refresh token may be in it."""
    body = bytearray()
    try:
        with own_errors():
            async for chunk in answer.content.iter_any():
                body += chunk
                if len(body) > LARGEST_ANSWER:
                    break
    except Lost:
        if not body:
            raise
    return bytes(body[:LARGEST_ANSWER])


def _retry_after(answer: aiohttp.ClientResponse) -> float | None:
    """Seconds, or a date: that is held against the broker's own clock, the only one that it speaks of."""
    text = answer.headers.get("Retry-After", "")
    if re.fullmatch("[0-9]{1,6}", text):
        return float(text)
    try:
        wait = parsedate_to_datetime(text) - parsedate_to_datetime(answer.headers.get("Date", ""))
    except (ValueError, TypeError, OverflowError):  # TypeError: one of the two names no time zone
        return None
    return max(0.0, wait.total_seconds())
