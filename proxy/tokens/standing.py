"""How a grant stands, in words for a person: the state, why, since when, and what to do."""

from dataclasses import dataclass

from proxy.brokers import Broker, Environment
from proxy.tokens.grant import Event, State
from proxy.tokens.rotation import Outcome


@dataclass(frozen=True, slots=True)
class Standing:
    """One grant, for `status`, readiness and metrics. Times are Unix seconds; nothing here is secret."""

    grant: str
    broker: str
    environment: str
    state: State
    reason: str
    fix: str | None
    since: float
    usable: bool
    generation: int
    origin: str | None
    access_expires: float | None
    next_renewal: float | None
    refreshed: float | None
    dies: float | None


def fix(state: State, grant: str) -> str | None:
    """The command that gets a grant out of `state`; None where nothing needs doing."""
    match state:
        case State.NONE | State.NEEDS_LOGIN:
            return f"bearerd login {grant}"
        case State.STOPPED:
            return f"correct the cause, then: bearerd reload (or log in anew: bearerd login {grant})"
        case _:
            return None


def login_advice(outcome: Outcome, broker: Broker, environment: Environment) -> str:
    """Why a pasted token brought no pair, and what to do next."""
    where = f" at {environment.login_page}" if environment.login_page else ""
    match outcome.event:
        case Event.TOKEN_DEAD:
            return (
                f"{broker.title} refused this token. Each token works once and dies within days: make a new one{where}"
            )
        case Event.ANSWER_LOST:
            return f"{outcome.reason}; the token may be spent. Make a new one{where} and log in with that"
        case _:
            return f"{outcome.reason}. The token was probably not spent: try it again in a minute"


def foreign_host(host: str, broker: Broker, environment: Environment) -> str:
    """What to say of an `api_server` outside the definition, and the line that would allow it."""
    place = f"brokers.{broker.name}.environments.{environment.name}.api_hosts"
    return f"the broker named {host} as its API server; nothing is sent there unless {place} lists it"
