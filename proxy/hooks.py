"""Who is told when something goes wrong: the `alerts:` of the configuration, ready to be used.

What can be found out about a hook before it is needed is found out here: that a webhook cannot be signed, or that a
program is not there.
"""

import base64
import binascii
import contextlib
import ipaddress
import os
import re
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import get_args
from urllib.parse import urlsplit

from proxy.config import Config, Problem
from proxy.config.alerts import Alert, EventName
from proxy.config.problem import Path as KeyPath
from proxy.secret import Secret
from proxy.store import UnsafeFile
from proxy.store.files import read_provided

EVENTS: tuple[str, ...] = get_args(EventName)
MOST = 16  # hooks of a configuration
SHORTEST_REPEAT = 60.0  # seconds
KEY_SIZES = range(24, 65)  # bytes of a signing secret, as Standard Webhooks has it
MAKE_SECRET = 'echo "whsec_$(openssl rand -base64 32)"'  # noqa: S105  the command, no secret
_LIMIT = 8192  # bytes of a file that holds an address or a secret
_URL = re.compile(r"(https?)://([A-Za-z0-9._:\[\]-]+)((?:[/?][!-\"$-~]*)?)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where to post. `origin` is what may be shown of the address; `key` signs.

    `socket` is a Unix socket to connect to instead of the host, `egress` the URL of a proxy that is asked to connect.
    """

    url: Secret
    origin: str
    host: str
    key: Secret
    ca_file: str | None = None
    socket: str | None = None
    egress: str | None = None


@dataclass(frozen=True, slots=True)
class Program:
    """What to run: the absolute path of a program, its arguments, and the directory to run it in."""

    path: Path
    arguments: tuple[str, ...]
    directory: Path


@dataclass(frozen=True, slots=True)
class Hook:
    """One entry of `alerts:`. `repeat` and `timeout` are in seconds; 0: never again."""

    name: str
    way: Webhook | Program
    events: frozenset[str]
    repeat: float
    timeout: float

    @property
    def kind(self) -> str:
        """`webhook` or `command`."""
        return "webhook" if isinstance(self.way, Webhook) else "command"

    @property
    def place(self) -> str:
        """Where it leads, as it may be shown: neither the rest of an address nor arguments, which may be secrets."""
        if isinstance(self.way, Program):
            return str(self.way.path)
        return self.way.origin if self.way.socket is None else f"unix:{self.way.socket}"


def read_hooks(config: Config) -> tuple[dict[str, Hook], list[Problem]]:
    """Every hook that can be used, and every problem. Blocks: it reads files."""
    problems: list[Problem] = []
    found = {}
    for name, alert in config.alerts.items():
        reader = _Reader(config, ("alerts", name), alert, problems)
        if (way := reader.way()) is not None:
            events = frozenset(EVENTS if alert.events is None else alert.events)
            found[name] = Hook(name, way, events, alert.repeat, alert.timeout)
    if len(config.alerts) > MOST:
        problems.append(config.problem(("alerts",), f"has more than {MOST} hooks", "remove some", at_key=True))
    return found, problems


def key_of(text: str) -> bytes | None:
    """The bytes of a signing secret, `whsec_…` or its base64 alone; None if it is none."""
    try:
        key = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        return None
    return key if len(key) in KEY_SIZES else None


@dataclass(frozen=True, slots=True)
class _Reader:
    """One hook being read."""

    config: Config
    path: KeyPath
    alert: Alert
    problems: list[Problem]

    def way(self) -> Webhook | Program | None:
        alert = self.alert
        if 0 < alert.repeat < SHORTEST_REPEAT:
            self._say("repeat", "is too often", f"write 0, or {SHORTEST_REPEAT:g} or more")
        posts = alert.url is not None or alert.url_file is not None
        if posts and alert.command is not None:
            self._say("command", "a hook is a webhook or a command, not both", "remove one of the two", at_key=True)
            return None
        if not posts and alert.command is None:
            if not self._given("url", "url_file", "command"):
                self._say(
                    None, "says neither whom to post to nor what to run", "add url: https://… or command: [PROGRAM]"
                )
            return None
        return self._webhook() if posts else self._program()

    def _say(self, key: str | None, message: str, fix: str | None = None, *, at_key: bool = False) -> None:
        path = self.path if key is None else (*self.path, key)
        self.problems.append(self.config.problem(path, message, fix, at_key=at_key or key is None))

    def _given(self, *keys: str) -> bool:
        """Whether one of them was, if with a mistake that has been told."""
        return any(self.config.origin((*self.path, key)) != "default" for key in keys)

    # -- webhooks -----------------------------------------------------------------------------------------------------

    def _webhook(self) -> Webhook | None:
        url, key = self._text("url"), self._key()
        if self.alert.ca_file is not None and not self.alert.ca_file.is_file():
            self._say("ca_file", "there is no such file", "name a PEM file")
        if url is None:
            return None
        at = "url" if self.alert.url is not None else "url_file"
        found = _URL.fullmatch(url.reveal())
        origin = f"{found[1]}://{found[2].lower()}" if found else ""
        host = _host(origin)
        if found is None or not host:
            self._say(at, "is no address to post to", "write https://HOST/PATH, without user, password and #")
            return None
        here, socket = _is_here(host), self.alert.unix_socket
        if socket is not None and found[1] == "https":
            self._say(at, "a Unix socket has no TLS", "write http://localhost/PATH")
        elif found[1] == "http" and not here and socket is None and self.alert.plaintext is None:
            fix = "write https://, or `plaintext: accepted` if that network is private"
            self._say(at, "is http, and leads beyond this machine", fix)
        if key is None:
            return None
        return Webhook(
            Secret(origin + found[3]),
            origin,
            host,
            key,
            str(self.alert.ca_file) if self.alert.ca_file is not None else None,
            str(socket) if socket is not None else None,
            None if here or socket is not None else self.config.egress_proxy,
        )

    def _key(self) -> Secret | None:
        secret = self._text("secret")
        if secret is None:
            if not self._given("secret", "secret_file"):
                fix = f"add secret_file: PATH, mode 0600; to make one: {MAKE_SECRET} > PATH"
                self._say(None, "has no secret to sign what it posts", fix)
            return None
        if key_of(secret.reveal()) is None:
            at = "secret" if self.alert.secret is not None else "secret_file"
            self._say(at, "is no signing secret", f"write whsec_ and the base64 of 24 to 64 bytes: {MAKE_SECRET}")
            return None
        return secret

    def _text(self, key: str) -> Secret | None:
        """What is given under `key`, or stands in the file `KEY_file`. One newline at the file's end does not count."""
        given: Secret | None = getattr(self.alert, key)
        file: Path | None = getattr(self.alert, f"{key}_file")
        if file is None:
            return given
        if given is not None:
            self._say(f"{key}_file", f"{key} is given too", "remove one of the two", at_key=True)
            return None
        try:
            text = read_provided(file, _LIMIT).decode("ascii").removesuffix("\n").removesuffix("\r")
        except UnsafeFile as unsafe:
            self._say(f"{key}_file", f"the file cannot be used: {unsafe}")
        except (OSError, UnicodeDecodeError):
            self._say(f"{key}_file", "the file cannot be read", f"put the {key} into {file}")
        else:
            if text:
                return Secret(text)
            self._say(f"{key}_file", "the file is empty", f"put the {key} into {file}")
        return None

    # -- commands -----------------------------------------------------------------------------------------------------

    def _program(self) -> Program | None:
        given = ("secret", "secret_file", "unix_socket", "ca_file", "plaintext")
        for key in (each for each in given if getattr(self.alert, each) is not None):
            self._say(key, "belongs to a webhook", "remove it", at_key=True)
        word, *arguments = self.alert.command or ()
        directory = self.config.base
        path = _found(word, directory)
        if path is None:
            self._say("command", "there is no such program", "name one that is there and may be run (chmod +x)")
            return None
        if path.stat().st_mode & stat.S_IWOTH:
            self._say("command", "any user may change that program", f"chmod o-w {path}")
            return None
        return Program(path, tuple(arguments), directory)


def _found(word: str, directory: Path) -> Path | None:
    """The program: in the PATH, or, if there is a slash in it, below the configuration's directory."""
    place = str(directory / word) if "/" in word else shutil.which(word)
    return Path(place) if place is not None and os.access(place, os.X_OK) and Path(place).is_file() else None


def _host(url: str) -> str:
    """The host of an address; empty if there is none, or its port is none."""
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
        return (parts.hostname or "") if parts.port != 0 else ""
    return ""


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
