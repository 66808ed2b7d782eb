"""Logins over a broker's page on a store in memory, and a clock that is moved by hand."""

from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from proxy.brokers.definition import Endpoints, Login
from proxy.clock import Now
from proxy.store.memory import MemoryStore
from proxy.store.sealing import Sealer
from proxy.store.vault import Vault
from proxy.tokens.login import Begun, LoginRefused, Logins, Taken, Wanted

BACK = "http://127.0.0.1:8081/callback"
LOGIN = Login("code", "code", code_life=600)
ENDPOINTS = Endpoints("https://login.example/token", authorize_url="https://login.example/authorize")
ADA = Wanted("ada", LOGIN, ENDPOINTS, "app", BACK, ("read", "trade"))
BOB = Wanted("bob", LOGIN, ENDPOINTS, "app", BACK, ("read", "trade"))
CODE = "canary-code/+="


@dataclass
class Clock:
    """Stands still unless it is moved."""

    wall: float = 1_772_557_200.0
    boot: float = 5_000.0

    def now(self) -> Now:
        return Now(self.wall, self.boot)

    def pass_by(self, seconds: float) -> None:
        self.wall += seconds
        self.boot += seconds


@dataclass
class Desk:
    """Logins on a store in memory; what was begun; a boot id to change."""

    clock: Clock = field(default_factory=Clock)
    store: MemoryStore = field(default_factory=MemoryStore)
    boot: str = "boot-1"
    known: dict[str, Wanted] = field(default_factory=lambda: {"ada": ADA, "bob": BOB})

    def logins(self) -> Logins:
        """As a new process would have them."""
        vault = Vault(self.store, Sealer(b"k" * 32, "lab"))
        return Logins(vault, self.clock, boot=lambda: self.boot)

    async def begin(self, wanted: Wanted = ADA) -> Begun:
        return await self.logins().begin(wanted)

    async def take(self, answer: str, grant: str | None = None) -> Taken:
        return await self.logins().take(answer, self.known, grant=grant)

    async def refused(self, answer: str, grant: str | None = None) -> LoginRefused:
        with pytest.raises(LoginRefused) as caught:
            await self.take(answer, grant)
        assert "canary" not in str(caught.value)
        return caught.value

    async def waits(self, grant: str = "ada") -> bool:
        return await self.logins().waiting(grant) is not None


def asked(begun: Begun) -> dict[str, str]:
    """The parameters of the address that the person opens."""
    return dict(parse_qsl(urlsplit(begun.authorize_url).query, keep_blank_values=True))


def answer(begun: Begun, **changes: str) -> str:
    """The address that a good broker leads back to, with `changes`."""
    return f"{begun.redirect_uri}?{urlencode({'code': CODE, 'state': asked(begun)['state']} | changes)}"
