"""The knobs of a simulated Alpaca."""

from dataclasses import dataclass

from proxy.simulator import options


@dataclass(slots=True)
class Options(options.Options):
    """Besides those of every broker, whose `expires_in` is here the life of a client-credentials token.

    - `requests_per_minute`: what the rate headers tell, and what is enforced if that is switched on;
    - `hold_events`: event streams stay open after the events that there are, as live; else they end.
    """

    expires_in: int = 899
    requests_per_minute: int = 200
    hold_events: bool = True
