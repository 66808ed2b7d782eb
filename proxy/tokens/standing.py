"""How a grant stands, in words for a person: the state, why, since when, and what to do."""

from dataclasses import dataclass
from datetime import UTC, datetime

from proxy.brokers import Broker, Environment
from proxy.brokers.definition import Login, LoginKind
from proxy.tokens.answer import Terms
from proxy.tokens.grant import DAY, HOUR, Event, Grant, State
from proxy.tokens.oauth import Exchange, Mint, Wish
from proxy.tokens.rotation import Outcome
from proxy.tokens.schedule import End


@dataclass(frozen=True, slots=True)
class Standing:
    """One grant, for `status`, readiness and metrics. Times are Unix seconds; nothing here is secret.

    `access_expires` is None for a token without an end, `dies` is when the refresh token does. `ends` is when a person
    must log in again whatever happens, and `warning` says so once that is near. `granted` are the scopes that the
    broker told of. `doubted`: the broker refused the token in hand, and only a person could get another; that may pass.
    """

    grant: str
    broker: str
    environment: str
    login: str
    login_kind: LoginKind
    state: State
    reason: str
    fix: str | None
    since: float
    usable: bool
    doubted: bool
    generation: int
    origin: str | None
    granted: tuple[str, ...]
    access_expires: float | None
    next_renewal: float | None
    refreshed: float | None
    dies: float | None
    ends: float | None
    warning: str | None


def fix(state: State, grant: str) -> str | None:
    """The command that gets a grant out of `state`; None where nothing needs doing."""
    match state:
        case State.NONE | State.NEEDS_LOGIN:
            return f"bearerd login {grant}"
        case State.QUARANTINED:
            return (
                f"bearerd adopt {grant} (tries the newest token held here, once), or log in anew: bearerd login {grant}"
            )
        case State.STOPPED:
            return f"correct the cause, then: bearerd reload (or log in anew: bearerd login {grant})"
        case _:
            return None


def moment(wall: float) -> str:
    """A Unix time for people, to the minute."""
    return datetime.fromtimestamp(wall, UTC).strftime("%Y-%m-%d %H:%M UTC")


def span(seconds: float) -> str:
    """So many seconds for people, in the largest unit that fits: `7 days`, `24 h`, `30 min`, `45 s`."""
    for unit, name, least in ((DAY, "days", 2 * DAY), (HOUR, "h", HOUR), (60.0, "min", 60.0)):
        if seconds >= least:
            return f"{seconds / unit:.0f} {name}"
    return f"{max(seconds, 0):.0f} s"


def ending(end: End, left: float, grant: str) -> str:
    """The warning that a login ends in `left` seconds."""
    return f"the login ends in {span(left)}, at {moment(end.at.wall)}; before that: bearerd login {grant}"


def dies(grant: Grant, terms: Terms) -> float | None:
    """When the refresh token does, in Unix time; None if there is none, or nobody knows."""
    life = terms.refresh_token_life
    if grant.refresh_token is None or life is None:
        return None
    since = grant.logged_in if terms.life_counts_from == "login" else grant.refreshed
    return since + life if since else None


def aging(refreshed: float, dies: float, wall: float, grant: str) -> str | None:
    """The warning that a refresh token was not renewed for half of its life or longer; None if it was."""
    if wall - refreshed < (dies - refreshed) / 2:
        return None
    left = f"dies in {span(dies - wall)}, at {moment(dies)}" if wall < dies else f"has probably died at {moment(dies)}"
    return (
        f"the refresh token was last renewed {span(wall - refreshed)} ago, at {moment(refreshed)}, and {left}; "
        f"find out why it is not renewed, or log in anew: bearerd login {grant}"
    )


def ended(end: End, broker: Broker) -> str:
    """Why a grant needs a login that nobody has refused."""
    when = moment(end.at.wall)
    if end.of_login:
        return f"{broker.title} ends a login after {span(end.life)}, however often it is renewed; this one at {when}"
    return f"the access token ended at {when}, and nothing here can renew it"


def doubt(wall: float, grant: str) -> str:
    """What to say of a token that the broker refused at that time, where only a person could get another."""
    return f"the broker refused the token (401) at {moment(wall)}; if that goes on: bearerd login {grant}"


def login_advice(outcome: Outcome, wish: Wish, *, broker: Broker, environment: Environment, login: Login) -> str:
    """Why a login brought no token, and what to do next."""
    endpoints = environment.logins.get(login.name)
    where = f" at {endpoints.login_page}" if endpoints and endpoints.login_page else ""
    match wish, outcome.event:
        case Exchange(), Event.TOKEN_DEAD:
            return f"{outcome.reason}. A code works once, for {span(login.code_life)}: log in again"
        case Exchange(), _:
            return f"{outcome.reason}. Its code is given up: log in again"
        case Mint(), Event.NOT_CONFIGURED:
            return outcome.reason
        case Mint(), _:
            return f"{outcome.reason}. Nothing was spent: try again in a minute"
        case _, Event.TOKEN_DEAD:
            return (
                f"{broker.title} refused this token. Each token works once and dies within days: make a new one{where}"
            )
        case _, Event.ANSWER_LOST:
            return f"{outcome.reason}; the token may be spent. Make a new one{where} and log in with that"
        case _:
            return f"{outcome.reason}. The token was probably not spent: try it again in a minute"


def foreign_host(host: str, broker: Broker, environment: Environment) -> str:
    """What to say of an `api_server` outside the definition, and the line that would allow it."""
    place = f"brokers.{broker.name}.environments.{environment.name}.api_hosts"
    return f"the broker named {host} as its API server; nothing is sent there unless {place} lists it"
