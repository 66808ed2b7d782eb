"""This machine's wall clock, checked against the time since boot and against the clocks of token endpoints.

Expiry is reckoned by both clocks, and the earlier one counts. A wall clock that is off therefore costs renewals or
refused calls, never a token; a person must hear of it all the same.
"""

from datetime import UTC, datetime

from proxy import logs
from proxy.clock import Clock, Now

JUMP = 30.0  # seconds by which the wall clock may move against the time since boot; adjusting it slowly is no jump
APART = 60.0  # seconds between our wall clock and a broker's
ADVICE = "set this machine's clock: timedatectl set-ntp true (systemd-timesyncd), or chronyc makestep (chrony)"

log = logs.get("tokens")


def jumped(before: Now, now: Now) -> float:
    """Seconds by which the wall clock was set between two readings; 0 if it only ran, or was adjusted a little."""
    step = (now.wall - before.wall) - (now.boot - before.boot)
    return step if abs(step) > JUMP else 0.0


class Skew:
    """What is known of the wall clock of this process's machine. One object for all grants."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._last = clock.now()
        self._apart: dict[str, str] = {}  # by the host whose clock differs

    @property
    def warnings(self) -> list[str]:
        """What a person should know, by host."""
        return [self._apart[host] for host in sorted(self._apart)]

    def look(self) -> bool:
        """Whether the wall clock was set since the last look. Look often: many small steps are not seen as one."""
        before, self._last = self._last, self.clock.now()
        step = jumped(before, self._last)
        if step:
            log.warning(
                "the wall clock was set; renewals are planned anew", by=round(step), now=_shown(self._last.wall)
            )
        return bool(step)

    def compare(self, host: str, date: float, asked: Now) -> None:
        """Note the `Date` of an answer (Unix time) that has just come to a request sent at `asked`.

        It may have been written at any moment in between, so that a slow answer is no wrong clock.
        """
        now = self.clock.now()
        begun = now.wall - max(0.0, now.boot - asked.boot)
        ahead = min(0.0, date - begun) + max(0.0, date - now.wall)
        if abs(ahead) <= APART:
            if self._apart.pop(host, None):
                log.info("the clocks agree again", host=host)
            return
        text = (
            f"this machine's clock says {_shown(now.wall)}, and {host} says {_shown(date)}. If the broker is right, "
            f"{ADVICE}"
        )
        if host not in self._apart:
            log.warning("the clocks differ", host=host, ours=_shown(now.wall), theirs=_shown(date), fix=ADVICE)
        self._apart[host] = text


def _shown(wall: float) -> str:
    return datetime.fromtimestamp(wall, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
