"""What is known of a grant's rate categories before anything is sent: definition, environment and configuration."""

from collections.abc import Iterator

from proxy.brokers.definition import PERIODS, Rate, RateHeaders
from proxy.gate.budget import HOUR, MINUTE, SECOND, Spec, limits
from proxy.gate.ratehead import Names, Part, wanted
from proxy.settings import GrantSettings, Settings

_LENGTHS = dict(zip(PERIODS, (SECOND, MINUTE, HOUR), strict=True))


def rates_of(settings: Settings) -> dict[str, dict[str | None, Spec]]:
    """Grant → category → what is known. None stands for calls that no category counts."""
    return {name: dict(_categories(settings, grant)) for name, grant in settings.grants.items()}


def _categories(settings: Settings, grant: GrantSettings) -> Iterator[tuple[str | None, Spec]]:
    config, broker, environment = settings.config, grant.broker, grant.environment
    mounts = [name for name in config.mounts if config.grant_of(name) == grant.name]
    rights = {} if isinstance(config.clients, str) else config.clients
    clients = frozenset(name for name, mine in rights.items() if any(mount in mine for mount in mounts))
    pacing = config.limits.pacing
    plain = Spec(patience=pacing.wait, reserve=pacing.reserve, clients=clients)
    yield None, plain
    headers = broker.rate_headers if environment.paced else None
    with_orders = {
        row.rate
        for mount in mounts
        for row in settings.api_of(mount).table.rows
        if row.order is not None and row.scope in config.mounts[mount].scopes
    }
    for category, rate in broker.rate_limits.items():
        here = environment.rate_limits.get(category, rate) if environment.paced else Rate()
        yield (
            category,
            Spec(
                limits=limits(here.per_second, here.per_minute, here.per_hour),
                told=None if headers is None else told_length(here, headers),
                names=Names({}) if headers is None else wanted(_names(headers)),
                patience=plain.patience,
                reserve=plain.reserve,
                orders=category in with_orders,
                clients=clients,
            ),
        )


def told_length(rate: Rate, headers: RateHeaders) -> float:
    """Seconds of the limit that the headers tell of: the one that they name, or the longest."""
    if headers.tells_of is None:
        longest = limits(rate.per_second, rate.per_minute, rate.per_hour)[-1:]
        return longest[0][0] if longest else MINUTE
    only: dict[str, float | None] = {period: getattr(rate, period) for period in PERIODS if period == headers.tells_of}
    own = limits(only.get("per_second"), only.get("per_minute"), only.get("per_hour"))
    return own[0][0] if own else _LENGTHS[headers.tells_of]


def _names(headers: RateHeaders) -> dict[Part, str]:
    parts: tuple[Part, ...] = ("limit", "remaining", "used", "reset")
    return {part: name for part in parts if (name := getattr(headers, part)) is not None}
