"""Who takes the spans of traced calls: the `tracing:` of the configuration, ready to be used."""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from proxy.config import Config, Problem
from proxy.secret import Secret
from proxy.store import UnsafeFile
from proxy.store.files import read_provided

NEEDS = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
_LIMIT = 16 * 1024  # bytes of the file with headers
_HEADER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*):[ \t]*([!-~](?:[\t -~]*[!-~])?)[ \t]*", re.ASCII)
# Those that say how the body is to be read.
_OURS = frozenset(("content-type", "content-length", "content-encoding", "transfer-encoding", "host", "connection"))


@dataclass(frozen=True, slots=True)
class Collector:
    """Where spans go: the whole URL, headers that open it, and who is trusted there if not whom the system trusts.

    `service` is how the server is called there.
    """

    endpoint: str
    service: str = "bearerd"
    headers: Mapping[str, Secret] = field(default_factory=dict, repr=False)
    ca_file: str | None = None


def read_collector(config: Config, needs: Sequence[str] = NEEDS) -> tuple[Collector | None, list[Problem]]:
    """The collector if there is one, and every problem. Blocks: it reads files. `needs` are libraries that send."""
    described, reader = config.tracing, _Reader(config)
    if described.endpoint is None:
        for key in ("headers_file", "ca_file"):
            if getattr(described, key) is not None:
                reader.say(key, "nothing is sent without an endpoint", "add tracing.endpoint or remove it", at_key=True)
        return None, reader.problems
    if not _installed(needs):
        reader.say("endpoint", "needs OpenTelemetry, which is not installed", "run: pip install 'bearerd[otel]'")
    ca_file = described.ca_file
    if ca_file is not None and not ca_file.is_file():
        reader.say("ca_file", "there is no such file", "name a PEM file")
    headers: Mapping[str, Secret] = {}
    if described.headers_file is not None:
        if not _is_private(described.endpoint):
            reader.say("endpoint", "the headers of headers_file would cross the network unencrypted", "write https://")
        headers = reader.headers(described.headers_file)
    trusted = str(ca_file) if ca_file is not None else None
    return Collector(described.endpoint, described.service, headers, trusted), reader.problems


class _Reader:
    """Notes what is wrong with the section."""

    def __init__(self, config: Config) -> None:
        self.problems: list[Problem] = []
        self._config = config

    def say(self, key: str, message: str, fix: str, *, at_key: bool = False) -> None:
        self.problems.append(self._config.problem(("tracing", key), message, fix, at_key=at_key))

    def headers(self, file: Path) -> Mapping[str, Secret]:
        """Those that stand in the file."""
        try:
            return _headers(file)
        except UnsafeFile as unsafe:
            self.say("headers_file", f"the file cannot be used: {unsafe}", "put the headers into a file of your own")
        except (OSError, UnicodeDecodeError):
            self.say("headers_file", "the file cannot be read", f"put a `NAME: VALUE` a line into {file}")
        except ValueError as wrong:
            self.say("headers_file", str(wrong), "write a `NAME: VALUE` a line, such as: Authorization: Bearer …")
        return {}


def _installed(needs: Sequence[str]) -> bool:
    try:
        return all(find_spec(name) is not None for name in needs)
    except ImportError:
        return False


def _is_private(endpoint: str) -> bool:
    """Whether nobody else can read what is sent there."""
    url = urlsplit(endpoint)
    if url.scheme == "https" or url.hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(url.hostname or "").is_loopback
    except ValueError:
        return False


def _headers(file: Path) -> dict[str, Secret]:
    """Raises `ValueError` with what is wrong, which quotes nothing."""
    found: dict[str, Secret] = {}
    for number, line in enumerate(read_provided(file, _LIMIT).decode("ascii").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _HEADER.fullmatch(line)
        if match is None:
            raise ValueError(f"its line {number} is no header")
        name = match[1].lower()
        if name in _OURS or name in found:
            raise ValueError(f"its line {number} names a header that is written here, or is there twice")
        found[name] = Secret(match[2])
    return found
