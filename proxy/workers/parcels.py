"""What custody and workers tell each other, as plain data. Secrets that are no worker's business are left out here."""

import io
import math
import pickle
from collections.abc import Iterable, Mapping
from typing import Any

from proxy.brokers import Origin
from proxy.clock import Now
from proxy.config import Document
from proxy.config.merge import Merged
from proxy.errors import Refusal
from proxy.secret import Secret
from proxy.settings import Settings
from proxy.tokens.grant import TokenPair


class _Blind(pickle.Pickler):
    """Every secret becomes an empty one, wherever it stands. Of a file, whose text holds them too, the name stays."""

    def reducer_override(self, found: object) -> Any:
        match found:
            case Secret():
                return Secret, ("",)
            case Document(name=name):
                return Document, (name, {})
            case Merged(document=document):
                return Merged, (document, {})
            case _:
                return NotImplemented


def blind(settings: Settings) -> bytes:
    """The settings in force, without one secret: of the database, of OAuth applications."""
    held = io.BytesIO()
    brokers = {grant.broker.name: grant.broker for grant in settings.grants.values()}
    brokers |= {name: settings.brokers[name] for name in {mount.broker for mount in settings.config.mounts.values()}}
    _Blind(held, pickle.HIGHEST_PROTOCOL).dump((settings.config, brokers, settings.stamp, dict(settings.grants)))
    return held.getvalue()


def settings_of(parcel: bytes) -> Settings:
    """What `blind` made. Only for what came from custody: a parcel can run code."""
    return Settings(*pickle.loads(parcel))  # noqa: S301  custody may do anything here anyway


def pair_told(pair: TokenPair) -> list[Any]:
    """A token pair: the access token, and where and until when it may be used."""
    ends = [None if math.isinf(moment) else moment for moment in (pair.expires.wall, pair.expires.boot, pair.life)]
    return [pair.generation, pair.access_token.reveal(), pair.origin.host, pair.origin.port, *ends]


def pair_of(told: list[Any]) -> TokenPair:
    """What `pair_told` made."""
    generation, token, host, port, *ends = told
    wall, boot, life = (math.inf if moment is None else float(moment) for moment in ends)
    return TokenPair(generation, Secret(token), Origin(host, port), Now(wall, boot), life)


def refusal_told(refusal: Refusal) -> dict[str, Any]:
    return {
        "name": refusal.kind.name,
        "status": refusal.kind.status,
        "detail": refusal.detail,
        "fix": refusal.fix,
        "retry_after": refusal.retry_after,
        "rule": refusal.rule,
    }


def refusal_of(told: Mapping[str, Any]) -> Refusal:
    return Refusal(
        told["name"],
        told["detail"],
        status=told["status"],
        fix=told["fix"],
        retry_after=told["retry_after"],
        rule=told["rule"],
    )


def headers_told(headers: Iterable[tuple[bytes, bytes]], names: Iterable[bytes]) -> list[list[str]]:
    """Those of an answer's headers that have one of these names (in lower case)."""
    wanted = names if isinstance(names, frozenset) else frozenset(names)
    return [[name.decode("latin-1"), value.decode("latin-1")] for name, value in headers if name.lower() in wanted]


def headers_of(told: Iterable[list[str]]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in told]
