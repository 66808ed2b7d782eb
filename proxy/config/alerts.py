"""One entry of `alerts:`: who is told when something goes wrong, and of what."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from proxy.config.address import Wrong
from proxy.config.section import File, Seconds, SecretText, Section, Text, unique

EventName = Literal[
    "login-needed",
    "login-ending",
    "refresh-failing",
    "refresh-token-half-life",
    "halted",
    "guard-denied",
    "audit-failing",
    "store-down",
    "reload-refused",
    "certificate-expiring",
    "client-key-expiring",
]


def _some(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        raise Wrong("names no event", "name some, or remove the key for all of them")
    return unique(names)


def _words(words: tuple[str, ...]) -> tuple[str, ...]:
    if not words or any("\0" in word for word in words):
        raise Wrong("is no command", "write a list, the program first: [/usr/local/bin/page, --team, ops]")
    return words


class Alert(Section):
    """A hook: a webhook (`url`) or a command."""

    url: SecretText = Field(None, description="A webhook's address, https. Never shown: it may be all one has to know.")
    url_file: File | None = Field(None, description="A file (mode 0600) that holds the address.")
    secret: SecretText = Field(None, description="whsec_…: what posts are signed with. Better in a file: secret_file.")
    secret_file: File | None = Field(None, description="A file (mode 0600) that holds the signing secret.")
    unix_socket: File | None = Field(None, description="Post over this Unix socket; the address then says the rest.")
    ca_file: File | None = Field(None, description="PEM: one more authority that the address is trusted by.")
    plaintext: Literal["accepted"] | None = Field(
        None, description="`accepted` allows http:// beyond this machine, in a private network."
    )
    command: Annotated[tuple[Text, ...], Field(strict=False), AfterValidator(_words)] | None = Field(
        None, description="A program and its arguments, without a shell. The event comes on its stdin, as JSON."
    )
    events: Annotated[tuple[EventName, ...], Field(strict=False), AfterValidator(_some)] | None = Field(
        None, description="Which events, each with its all-clear. Default: all."
    )
    repeat: Seconds = Field(
        0, ge=0, le=31 * 86400, description="Seconds after which what still goes wrong is told again; 0: never."
    )
    timeout: Seconds = Field(10, ge=1, le=60, description="Seconds that one try may take.")
