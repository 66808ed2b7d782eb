"""Signs of life. A process that hangs, and is not dead, keeps its sockets and answers nobody: it has to be noticed.

Custody and workers say once a second to the supervisor, from their event loops, that they run. The supervisor kills one
that has said nothing for `SILENCE`, and then starts it again as any that has died. Time in which the supervisor did not
run itself does not count: after a pause of the machine or of the container all are silent, and none of them hangs.
"""

import asyncio

from proxy.workers.link import Link

SILENCE = 8.0  # seconds; who says nothing for so long hangs
RISING = 90.0  # seconds for a process that was started again to say its first word
CLOSING = 60.0  # seconds for one that has hung up to end
SIGNS = 8  # within `SILENCE`


class Pulse:
    """Gives the signs, over a link to the supervisor, until that is over."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._every = 0.0

    def start(self, every: float) -> None:
        """One now, and one every so many seconds."""
        self._every = every
        self._beat()

    def _beat(self) -> None:
        if self._link.over:
            return
        if not self._link.waiting:  # else one that was said has not been heard yet
            self._link.say("alive")
        asyncio.get_running_loop().call_later(self._every, self._beat)


class Ear:
    """What the supervisor makes of one process's silence. `heard()` at each word of it, `look()` at each look.

    `first`: seconds that it has until its first word; 0: as long as it likes.
    """

    __slots__ = ("_first", "_most", "_spoke", "silent")

    def __init__(self, most: float, first: float) -> None:
        self._most, self._first = most, first
        self._spoke = False
        self.silent = 0.0  # seconds, of those in which we ran

    def heard(self) -> None:
        self._spoke, self.silent = True, 0.0

    def look(self, took: float, pace: float, *, over: bool) -> bool:
        """Whether it hangs. `took`: seconds since the last look, which should have been `pace`; `over`: it hung up.

        Of a look that comes late no more than two count, and it decides nothing: what was said is read first.
        """
        self.silent += min(took, 2 * pace)
        most = CLOSING if over else self._most if self._spoke else self._first
        return took < 2 * pace and 0 < most <= self.silent
