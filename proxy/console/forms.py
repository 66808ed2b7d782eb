"""Forms as browsers send them: small, whole, each field once, and only fields that the form has."""

import asyncio
from collections.abc import Collection, Mapping
from urllib.parse import parse_qsl

from aiohttp import web

LARGEST = 20_480  # bytes; a token of 8,192 characters, percent-encoded here and there, fits
PATIENCE = 10.0  # seconds for a form to arrive
MOST_FIELDS = 16
LONGEST = 8_192  # characters of one field
LONGEST_QUERY = 2_048
TYPE = "application/x-www-form-urlencoded"


class Malformed(Exception):
    """No form of ours. The text says why, and quotes nothing of it."""


class TooLarge(Malformed):
    """A form that is longer than any of ours; it was not read."""


async def read(request: web.BaseRequest, *, patience: float = PATIENCE) -> dict[str, str]:
    """The fields of a form, each with what was typed, without spaces around it. Raises `Malformed`.

    `patience`: seconds for it to arrive.
    """
    length = request.content_length
    if request.content_type.lower() != TYPE or request.headers.get("Content-Encoding"):
        raise Malformed("This is no form: its type is another.")
    if length is None:
        raise Malformed("The form does not say how long it is.")
    if length > LARGEST:
        raise TooLarge("The form is too long.")
    try:
        async with asyncio.timeout(patience):
            body = await request.read()
    except TimeoutError:
        raise Malformed("The form did not arrive in time.") from None
    try:
        text = body.decode("ascii")
    except UnicodeDecodeError:
        raise Malformed("The form holds raw bytes.") from None
    return _fields(text)


def query(text: str) -> dict[str, str]:
    """The fields of an address; none at all of one that cannot be read: it only chooses what is shown."""
    if len(text) > LONGEST_QUERY:
        return {}
    try:
        return _fields(text)
    except Malformed:
        return {}


def only(form: Mapping[str, str], known: Collection[str]) -> None:
    """Raise `Malformed` if there is a field that the form does not have."""
    if not form.keys() <= set(known):
        raise Malformed("The form has a field that does not belong to it.")


def _fields(text: str) -> dict[str, str]:
    if not text:
        return {}
    try:
        pairs = parse_qsl(
            text, keep_blank_values=True, strict_parsing=True, max_num_fields=MOST_FIELDS, errors="strict"
        )
    except ValueError:
        raise Malformed("The form can't be read.") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise Malformed("The form has a field twice.")
    if any(len(value) > LONGEST or "\0" in value for value in fields.values()):
        raise Malformed("A field of the form is too long, or holds what nobody can type.")
    return {name: value.strip() for name, value in fields.items()}
