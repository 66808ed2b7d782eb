"""The `guards:` of a mount or of a client: what orders may be, and which accounts may be named."""

import re
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, WithJsonSchema

from proxy.config.address import Wrong
from proxy.config.section import Section

MIDNIGHT = "24:00"  # the end of a day, as a time to close
_TIME = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]", re.ASCII)
_AMOUNT = re.compile(r"(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,9})?", re.ASCII)


def _amount(value: object) -> str:
    """Exact digits, whether they were written as a number or as text."""
    text = value if isinstance(value, str) else repr(value)
    if isinstance(value, bool) or not isinstance(value, str | int | float) or not _AMOUNT.fullmatch(text):
        raise Wrong("must be a number of 0 or more", "write digits, with at most 15 before the point and 9 behind it")
    return text


def _time(text: str) -> str:
    if not _TIME.fullmatch(text):
        raise Wrong("is no time of a day", "write HH:MM, from 00:00 to 23:59")
    return text


def _closing(text: str) -> str:
    return text if text == MIDNIGHT else _time(text)


def _zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Wrong("is no IANA time zone", "write one such as America/New_York") from None
    return text


def _some(values: tuple[str, ...]) -> tuple[str, ...]:
    if not values:
        raise Wrong("is empty, so that every order would be refused", "name at least one or remove the key")
    return values


_NUMBER: Any = WithJsonSchema({"type": ["number", "string"]})

Word = Annotated[str, StringConstraints(min_length=1)]
Words = Annotated[tuple[Word, ...], Field(strict=False), AfterValidator(_some)]
Amount = Annotated[str, BeforeValidator(_amount), _NUMBER]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Days = Annotated[tuple[Day, ...], Field(strict=False), AfterValidator(_some)]


class Hours(Section):
    """When orders may be placed and changed."""

    days: Days = Field(("mon", "tue", "wed", "thu", "fri"), description="Days of the week on which it opens.")
    open: Annotated[str, AfterValidator(_time)] = Field(description="HH:MM, local time of the zone.")
    close: Annotated[str, AfterValidator(_closing)] = Field(
        description="HH:MM, no longer open then; 24:00 for midnight. Before `open`: on the next day."
    )
    zone: Annotated[str, AfterValidator(_zone)] = Field(description="IANA name, as in America/New_York.")


class Guards(Section):
    """What orders may be, and which accounts may be named. What is not told here is not looked at."""

    accounts: Words | None = Field(None, description="Accounts that calls may name, reads too.")
    symbols: Words | None = Field(None, description="What may be traded, as the broker's orders call it.")
    underlyings: Words | None = Field(None, description="Whose options may be traded.")
    sides: Words | None = Field(None, description="The broker's words for buying and selling.")
    types: Words | None = Field(None, description="The broker's words for types of orders.")
    max_quantity: Amount | None = Field(None, description="The most of one order, in shares or contracts.")
    max_notional: Amount | None = Field(None, description="The most of one order in money: quantity times limit price.")
    orders_per_minute: int | None = Field(None, ge=1, le=100_000, description="Orders placed and changed in a minute.")
    hours: Hours | None = Field(None, description="When orders may be placed and changed.")
