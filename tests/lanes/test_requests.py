"""Whatever a client sends: the express lane takes it as the ordinary one would have, or leaves it alone."""

import asyncio
from collections.abc import Callable, Sequence

import pytest

from tests import tricks
from tests.lanes.scene import Play, Scene, both
from tests.test_framing import ATTACKS, Attack

pytestmark = pytest.mark.soak
TOGETHER = 12  # talks at a time
BROWSERS = (
    "Origin: null", "Origin: http://127.0.0.1", "Origin: {origin}", "Sec-Fetch-Site: none",
    "Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: same-site", "Sec-Fetch-Site: None",
    "Sec-Fetch-Mode: navigate", "Access-Control-Request-Method: GET", "Access-Control-Request-Headers: x",
    "Host: evil.example", "Cookie: a=b",
)  # fmt: skip
ODD = (
    "Accept: a/b", "ACCEPT-ENCODING: gzip, zstd;q=1, br", "Accept-Encoding: br", "Accept-Language: en",
    "Range: bytes=0-1", "Content-Type: application/json", 'If-None-Match: "a"', "If-Modified-Since: x",
    "Last-Event-ID: 7", "X-Api-Key: ", "X-Forwarded-For: 1.2.3.4", "X-Original-URL: /a",
    "X-HTTP-Method-Override: DELETE", "traceparent: 00-a-b-01", "X-Request-Id: mine-1", "X-Request-Id: not a word",
    "x-request-id: {key}", "Idempotency-Key: 7", "Via: 1.0 x", "User-Agent: a", "Keep-Alive: timeout=5",
    "Connection: keep-alive", "Connection: close", "Connection: keep-alive, accept", "Proxy-Connection: keep-alive",
    "Accept:", "Accept:    a   ", "Accept: a\tb", "Accept: \xe9", "X-Odd_Name: 1", "Te: trailers",
    "Authorization: Bearer x", "X-Api-Key: {key}", "APCA-API-KEY-ID: a", "APCA-API-SECRET-KEY: {key}",
    "Content-Length: 0", "Content-Length: 2", "Expect: 100-continue", "Upgrade: h2c",
    "Proxy-Authorization: Basic eDp5", "location: 26598145",
)  # fmt: skip
KEYS = (
    "", "Authorization: Bearer {key}x", "Authorization: bearer {key}", "Authorization: Basic {basic}",
    "Authorization: Digest {key}", "X-Api-Key: {key}", "APCA-API-KEY-ID: a\r\nAPCA-API-SECRET-KEY: {key}",
    "Authorization: Bearer {other}", "Authorization: {key}", "Authorization: Bearer  {key}",
    "Authorization:Bearer {key}", "aUTHORIZATION: BEARER {key}", "Authorization: Bearer {key} x",
)  # fmt: skip
TARGETS = (
    "/lab/v1/accounts", "/lab//v1/accounts", "/lab/v1/accounts/", "/lab/v1//accounts", "/lab/v1/../v1/accounts",
    "//lab/v1/accounts", "/lab", "/lab/", "/", "/none/v1/accounts", "/lab/v1/wallet", "/lab/v1/feed", "/lab/v1/events",
    "/lab/v1/beta/BTC%2FUSD/news:latest", "/lab/v1/beta/BTC%2fUSD/news:latest", "/lab/v1/beta/AAPL/news:latest?a=%3A",
    "/lab/v1/accounts?", "/lab/v1/accounts?a=+&a=%25&&=", "/lab/v1/accounts?_method=DELETE",
    "/lab/v1/accounts?%5fmethod=x", "/lab/v1/accounts#a", "/lab/v1/accounts?a#b", "/LAB/v1/accounts",
    "/lab/v1/accounts;x=1", "/lab/v1/%61ccounts", "/lab/v1/accounts%00",
    "/lab/oauth2/token?grant_type=refresh_token&refresh_token={key}", "/lab/oauth2/token",
    "/lab/v1/oauth/clients/7a3c52a910e1dc2abbb14da2b6b8e711", "/lab/v1/accounts/1/2/3/4/5/6/7/8/9/10/11/12/13",
    "http://127.0.0.1/lab/v1/accounts", "*", "lab/v1/accounts", "/lab/v1/accounts\\", "/lab/v1/acc\xe9",
    "/lab/v1/orders/7", "/metrics", "/lab/v1/accounts?" + "a" * 300, "/lab/v1/accounts?" + "a" * 8000,
    "/lab/v1/" + "a" * 129,
)  # fmt: skip


def framings(attacks: Sequence[Attack], cut: int = 65_536) -> Play:
    async def play(scene: Scene) -> None:
        async def talk(attack: Attack) -> None:
            data = attack.bytes(scene.lab)
            pieces = [part for at in range(0, len(data), cut) for part in (data[at : at + cut], 0.001)][:-1]
            name, mine = f"{attack.number} {attack.text!a}", f"n={attack.number}&".encode()
            whole = len(data) <= cut
            await scene.talk(name, *pieces, methods=["GET"] * max(1, attack.most), mine=mine, answers=whole)

        for start in range(0, len(attacks), TOGETHER):
            await asyncio.gather(*(talk(attack) for attack in attacks[start : start + TOGETHER]))

    return play


async def heads(scene: Scene) -> None:
    """One line more in a head; another key; another target; and the same as HEAD."""
    known = {
        "key": scene.lab.key,
        "origin": f"http://{scene.lab.host}",
        "other": scene.lab.key[:-1] + "x",
        "basic": "eDp5",
    }

    def filled(text: str) -> str:
        return tricks.Trick("", text).filled(**known)

    for method in ("GET", "HEAD"):
        for line in BROWSERS + ODD:
            await scene.talk(
                f"{method} with {line}", scene.lab.request(method, "/lab/v1/accounts", filled(line)), methods=[method]
            )
        for line in KEYS:
            lines = [filled(line)] if line else []
            await scene.talk(
                f"{method} by {line}", scene.lab.request(method, "/lab/v1/accounts", *lines, key=""), methods=[method]
            )
        for target in TARGETS:
            await scene.talk(
                f"{method} {target[:99]} {len(target)}", scene.lab.request(method, filled(target)), methods=[method]
            )


@pytest.mark.parametrize("cut", [65_536, 1, 7, 64])
async def test_no_framing_is_read_otherwise_however_it_is_cut(cut: int, figure: Callable[[object], None]) -> None:
    """The whole corpus, whole and in pieces."""
    faults, seen = await both(framings(ATTACKS, cut))
    figure(f"{len(seen.talks)} talks, {seen.taken} of {seen.calls} calls taken")
    assert [] == faults, "\n".join(faults)
    assert 0.9 * len(ATTACKS) < seen.taken


async def test_no_head_is_judged_otherwise(figure: Callable[[object], None]) -> None:
    """What the gate says of headers, keys and targets."""
    faults, seen = await both(heads)
    figure(f"{len(seen.talks)} talks, {seen.taken} of {seen.calls} calls taken")
    assert [] == faults, "\n".join(faults)
    assert len(seen.talks) <= seen.taken
