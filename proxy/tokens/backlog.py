"""Members of one grant that are due, and how many of them are renewed at a time. Pure; boot times in seconds."""

from collections import deque
from dataclasses import dataclass, field

from proxy.tokens.roster import Member

AHEAD = 4  # times as many members are renewed at once as may ask for a token: the others read, write and commit
_PATIENCE = 4  # failures in a row, of any members, before their renewals are slowed down
_PAUSE = 300.0  # seconds at most until one more member is tried while a token endpoint fails


@dataclass(slots=True)
class Backlog:
    """The renewals in the background of one grant's members. `failures` in a row slow it down, whoever's they are.

    `running` are tasks that renew one member after the other; none may start `not_before`. `answers`: the last of them
    has ended well.
    """

    waiting: deque[Member] = field(default_factory=deque)
    running: int = 0
    failures: int = 0
    answers: bool = False
    not_before: float = 0.0

    def ended(self, now: float, *, well: bool) -> None:
        """A member was renewed, or was not."""
        self.answers = well
        self.failures = 0 if well else self.failures + 1
        beyond = self.failures - _PATIENCE
        self.not_before = now + min(_PAUSE, 2.0 ** min(beyond, 10)) if beyond >= 0 else 0.0

    def room(self, limit: int) -> int:
        """How many more may start, or have to end. While the endpoint fails one is left, to see whether it is back.

        No more than `limit` ask for a token at a time: the lane sees to that. What the others do meanwhile is done for
        many of them in one go, and costs each a part of what it costs alone. But whoever waits in the lane will post
        its token, even if it turns out that nobody gets an answer: so nobody does until somebody has got one.
        """
        most = AHEAD * limit if self.answers else limit
        return (most if self.not_before == 0.0 else 1) - self.running
