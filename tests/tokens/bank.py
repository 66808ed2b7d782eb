"""A broker as its ledger sees it: which refresh token was posted when, by whom, and what came of it."""

import itertools
import json
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from proxy.tokens.oauth import RawAnswer
from tests.tokens.support import BAD_REQUEST, LIFE


@dataclass(frozen=True)
class Mishap:
    """What goes wrong with one post. `orphan`: if its sender has gone, the broker still works it off."""

    kind: str = "ok"
    delay: float = 0.0
    orphan: bool = False


@dataclass(eq=False)
class Post:
    """One token request that has left a process. `fate` is what its sender knows of it."""

    sender: int
    token: str
    begun: float
    told: bool  # a person asked for it
    fate: str = "lost"  # or `kept`, `unkept` (in memory only), `refused`, `later`
    ended: float | None = None
    brought: str | None = None  # the refresh token that was issued for it


@dataclass
class Bank:
    """A broker whose refresh tokens work once, and whose redeems kill the access token before. Keeps a ledger."""

    time: Callable[[], float]
    posts: list[Post] = field(default_factory=list)
    mishaps: deque[Mishap] = field(default_factory=deque)
    current: str | None = None  # the one refresh token of ours that works
    manual: str | None = None  # one that a person has made on the broker's page
    access: str | None = None
    expires: float = 0.0
    newest: Post | None = None  # the post that brought `current`
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    judge: Callable[[Post], str | None] = field(default=lambda _post: None)
    faults: list[str] = field(default_factory=list)  # what was found to be wrong: flights swallow exceptions

    def open(self, post: Post) -> None:
        fault = self.judge(post)
        if fault is not None:
            self.faults.append(fault)
        self.posts.append(post)

    def redeem(self, post: Post) -> RawAnswer:
        if post.token not in {self.current, self.manual}:
            return BAD_REQUEST
        number = next(self.numbers)
        self.current, self.manual, self.newest = f"R{number}", None, post
        self.renew_access(number)
        post.brought = self.current
        fields = {
            "access_token": self.access,
            "api_server": "https://api01.iq.questrade.com/",
            "expires_in": LIFE,
            "refresh_token": self.current,
        }
        return RawAnswer(200, "application/json", json.dumps(fields).encode())

    def renew_access(self, number: int) -> None:
        self.access, self.expires = f"A{number}", self.time() + LIFE

    def steal(self) -> None:
        """Another program has redeemed the token: the family lives on elsewhere."""
        self.current = self.access = self.newest = None

    def takes(self, access: str) -> bool:
        return access == self.access and self.time() < self.expires
