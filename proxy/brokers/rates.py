"""The `rate_limits:` of a definition and of its environments, and the headers that tell what is left of them."""

import re
from collections.abc import Mapping
from typing import Any, Literal

from proxy.brokers.definition import PERIODS, Rate, RateHeaders
from proxy.brokers.section import Section
from proxy.config.problem import did_you_mean

_NONE = "none"
_PARTS: tuple[Literal["limit", "remaining", "used", "reset"], ...] = ("limit", "remaining", "used", "reset")
_HEADER = re.compile(r"[A-Za-z0-9-]{1,64}", re.ASCII)
LEAST = 0.001  # calls in a period: what is less rounds to none
_RESERVED = {"date", "retry-after"}  # they have their meaning anyway


def read_rates(section: Section) -> dict[str, Rate]:
    """Category → how many calls of it the broker allows."""
    return {name: _rate(part) for name, part in section.named("rate_limits")}


def read_own_rates(section: Section, known: Mapping[str, Rate]) -> dict[str, Any]:
    """What an environment says of the broker's categories: the fields that it gives, none if it says nothing."""
    if "rate_limits" not in section.data:
        return {}
    if section.data["rate_limits"] == _NONE:
        return {"rate_limits": {}, "paced": False}
    found = read_rates(section)
    part = section.section("rate_limits")
    for name in found:
        if name not in known:
            fix = did_you_mean(name, known) or f"known: {', '.join(known) or 'none'}"
            part.fault(name, f"there is no rate '{name}'", fix, at_key=True)
    return {"rate_limits": found, "paced": True}


def read_rate_headers(section: Section) -> RateHeaders | None:
    """Which headers of the broker's answers tell what is left. None: none does."""
    if "rate_headers" not in section.data:
        return None
    part = section.section("rate_headers")
    part.known((*_PARTS, "tells_of"))
    names = {}
    for key in _PARTS:
        name = part.text(key)
        if name is not None and (not _HEADER.fullmatch(name) or name.lower() in _RESERVED):
            part.fault(key, "is no header that could tell this", "write its name, as in X-RateLimit-Remaining")
        elif name is not None:
            names[key] = name.lower()
    if "remaining" not in names and not {"limit", "used"} <= names.keys():
        part.fault(None, "does not say what is left", "name the header of `remaining`, or those of `limit` and `used`")
    return RateHeaders(**names, tells_of=part.choice("tells_of", PERIODS))


def _rate(section: Section) -> Rate:
    section.known(PERIODS)
    found = {key: section.number(key) for key in PERIODS}
    for key, value in found.items():
        if value is not None and value < LEAST:
            section.fault(key, "would let nothing through", f"write {LEAST} or more, or leave it out")
    return Rate(**found)
