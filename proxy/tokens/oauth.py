"""The requests to a broker's token endpoint (RFC 6749). One request, one answer, no second try.

A token, a code or a client secret goes into a form body or into `Authorization` and nowhere else: never into a URL, a
log or an exception.
"""

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from urllib.parse import quote_plus

import aiohttp
from yarl import URL

from proxy.brokers.definition import Endpoints, Login
from proxy.outbound import CONNECT_TIMEOUT, Lost, NotSent, own_errors, patient, session, tls_context
from proxy.secret import Secret
from proxy.tokens.skew import Skew

TOTAL_TIMEOUT = 30.0
LARGEST_ANSWER = 8192


@dataclass(frozen=True, slots=True)
class Refresh:
    """Redeem a refresh token (RFC 6749, section 6)."""

    token: Secret

    @property
    def secret(self) -> Secret:
        """What is spent by it."""
        return self.token


@dataclass(frozen=True, slots=True)
class Exchange:
    """Exchange an authorization code (RFC 6749, section 4.1.3); `verifier` is PKCE's (RFC 7636).

    `redirect_uri` is the one that the authorize address was opened with; None if it named none.
    """

    code: Secret
    redirect_uri: str | None = None
    verifier: Secret | None = None

    @property
    def secret(self) -> Secret:
        """What is spent by it."""
        return self.code


@dataclass(frozen=True, slots=True)
class Mint:
    """Ask for an access token by client credentials (RFC 6749, section 4.4). It spends nothing."""

    @property
    def secret(self) -> None:
        """Nothing is spent."""
        return


@dataclass(frozen=True, slots=True)
class Plain:
    """A secret that is the credential itself, and is posted nowhere. One of two parts is `first:second`."""

    secret: Secret


Wish = Refresh | Exchange | Mint


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
    """Where and how one login's tokens are asked for. `client_id` and `client_secret` are the application's own."""

    endpoints: Endpoints
    login: Login
    user_agent: str
    client_id: str | None = None
    client_secret: Secret | None = None
    ca_file: str | None = None
    private_hosts: frozenset[str] = frozenset()
    egress: str | None = None
    skew: Skew | None = None  # is told what time it is there

    async def ask(self, wish: Wish, arrived: Callable[[RawAnswer], None] = _ignore) -> RawAnswer:
        """Post a wish. Raises `NotSent` (nothing was spent) or `Lost` (what it spends may be spent).

        `arrived` is called with the answer before anything else can run: no await lies between it and the last byte.
        """
        url = self.endpoints.token_url
        if isinstance(wish, Refresh) and self.endpoints.refresh_url is not None:
            url = self.endpoints.refresh_url
        if url is None:
            raise NotSent("this login has no token endpoint")
        return await self._post(url, self._form(wish), arrived)

    async def revoke(self, token: Secret) -> RawAnswer:
        """Ask the broker to forget a token (RFC 7009). Raises `NotSent` or `Lost`."""
        if self.endpoints.revoke_url is None:
            raise LookupError("this login has no revoke endpoint")
        return await self._post(self.endpoints.revoke_url, {"token": token.reveal()}, _ignore)

    def _form(self, wish: Wish) -> dict[str, str]:
        match wish:
            case Refresh(token):
                return {"grant_type": "refresh_token", "refresh_token": token.reveal()}
            case Exchange(code, redirect_uri, verifier):
                form = {"grant_type": "authorization_code", "code": code.reveal()}
                if redirect_uri is not None and "redirect_uri" not in self.login.omits:
                    form["redirect_uri"] = redirect_uri
                if verifier is not None:
                    form["code_verifier"] = verifier.reveal()
                return form
            case Mint():
                return {"grant_type": "client_credentials"}

    def _proof(self) -> tuple[dict[str, str], dict[str, str]]:
        """How the application proves itself (RFC 6749, section 2.3.1): fields of the form, and headers."""
        name, secret = self.client_id, self.client_secret.reveal() if self.client_secret else ""
        if self.login.client_auth == "basic":
            # Both are encoded as in a form first, so that neither a colon nor any script breaks the pair.
            pair = f"{quote_plus(name or '')}:{quote_plus(secret)}".encode()
            return {}, {"Authorization": "Basic " + base64.b64encode(pair).decode()}
        fields = {"client_id": name} if name is not None else {}
        if self.login.client_auth == "form":
            fields["client_secret"] = secret
        return fields, {}

    async def _post(self, url: str, form: Mapping[str, str], arrived: Callable[[RawAnswer], None]) -> RawAnswer:
        try:
            tls = await tls_context(self.ca_file)
        except OSError:  # `ssl.SSLError` is one too
            raise NotSent("the environment's ca_file cannot be read") from None
        # `connect`, not `sock_connect`: a name server that hangs is part of it.
        timeout = aiohttp.ClientTimeout(total=None, connect=CONNECT_TIMEOUT, ceil_threshold=60)
        asked = self.skew.clock.now() if self.skew is not None else None
        fields, headers = self._proof()
        headers |= {
            "User-Agent": self.user_agent,
            "Accept": "application/json",
            "Accept-Encoding": "identity",  # nobody unpacks the answer, and without this line it may come packed
            "Content-Type": "application/x-www-form-urlencoded",
        }
        async with session(tls, keep_alive=None, private_hosts=self.private_hosts, egress=self.egress) as client:
            with own_errors():
                async with patient(TOTAL_TIMEOUT) as waiting:
                    answer = await client.post(
                        URL(url, encoded=True),
                        data={**form, **fields},
                        headers=headers,
                        timeout=timeout,
                        allow_redirects=False,
                    )
            try:
                body = await _read(answer, waiting.left)
            finally:
                answer.close()
            raw = RawAnswer(answer.status, answer.headers.get("Content-Type", ""), body)
            arrived(raw)  # before the session is closed, which gives the loop a turn, and before anything is read in it
            date = _date(answer)
            if self.skew is not None and asked is not None and date is not None:
                self.skew.compare(answer.url.host or "", date, asked)
            return replace(raw, retry_after=_retry_after(answer))


async def _read(answer: aiohttp.ClientResponse, seconds: float) -> bytes:
    """What came of the body, even if it broke off: a complete refresh token may be in it."""
    body = bytearray()
    try:
        with own_errors():
            async with patient(seconds):
                async for chunk in answer.content.iter_any():
                    body += chunk
                    if len(body) > LARGEST_ANSWER:
                        break
    except Lost:
        if not body:
            raise
    return bytes(body[:LARGEST_ANSWER])


def _date(answer: aiohttp.ClientResponse) -> float | None:
    """What time it is at the broker, as Unix time; None if it does not say."""
    try:
        moment = parsedate_to_datetime(answer.headers.get("Date", ""))
    except (ValueError, TypeError, OverflowError):
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


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
