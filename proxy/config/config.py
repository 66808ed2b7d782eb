"""The configuration in force: the typed sections, and where each value came from."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import PrivateAttr

from proxy.config.address import Address, Tcp
from proxy.config.document import Document
from proxy.config.guards import Guards
from proxy.config.merge import Merged
from proxy.config.model import OPEN, Right, Settings
from proxy.config.plain import plain, to_yaml
from proxy.config.problem import ConfigInvalid, Mark, Problem
from proxy.config.problem import Path as KeyPath
from proxy.dsn import is_database


class Config(Settings):
    """The configuration in force. Hand its sections, not the whole, to those who need them."""

    _merged: Merged = PrivateAttr()
    _base: Path = PrivateAttr()

    def remember(self, merged: Merged, base: Path) -> None:
        """Told once, by `load`: where the values came from, and the file's directory."""
        self._merged, self._base = merged, base

    @property
    def name(self) -> str:
        """The file, as messages call it."""
        return self._merged.document.name

    @property
    def base(self) -> Path:
        """The file's directory: relative paths start here."""
        return self._base

    @property
    def store_path(self) -> Path | None:
        """The file of a SQLite store; None if the store is a database."""
        return None if is_database(self.store) else Path(self.store.removeprefix("sqlite:"))

    @property
    def state_dir(self) -> Path:
        """Where the journal, locks and the admin socket live: beside a SQLite store, unless it is said otherwise."""
        if self.state is not None:
            return self.state
        if self.store_path is None:
            raise LookupError("a configuration with a database names its state directory")
        return self.store_path.parent

    @property
    def tls_directory(self) -> Path:
        """Where the local authority is, and what clients need that trust it."""
        return self.state_dir / "tls"

    @property
    def mixed(self) -> bool:
        """Whether only the addresses of `listen` with `tls:` in front speak TLS."""
        return any(isinstance(address, Tcp) and address.tls for address in self.listen)

    def encrypts(self, address: Address) -> bool:
        """Whether TLS is spoken at this address of `listen`."""
        return isinstance(address, Tcp) and self.tls.on and (address.tls or not self.mixed)

    def plain_too(self, address: Address) -> bool:
        """Whether a port of its own there (a mount's) takes plain text beside TLS.

        It does where `listen` has both: on this machine, and beyond it at addresses where `listen` itself has accepted
        plain text. Never where clients must show a certificate.
        """
        plain = [each for each in self.listen if isinstance(each, Tcp) and not each.tls]
        if not self.mixed or not plain or self.tls.client_ca_file is not None:
            return False
        accepted = self.plaintext is not None and any(_covers(each, address) for each in plain)
        return address.loopback or accepted

    @property
    def brokers(self) -> Document:
        """The `brokers` part as it was written, with its marks, for whoever knows what a broker is."""
        return self._merged.document.part(("brokers",))

    @property
    def open_to_all(self) -> bool:
        """True for `clients: none`: any program that reaches the listener may call."""
        return self.clients == OPEN

    @property
    def rights(self) -> Mapping[str, Mapping[str, tuple[str, ...]]]:
        """Client → mount → scopes; nothing where anybody may call."""
        return (
            {}
            if isinstance(self.clients, str)
            else {
                client: {mount: right.scopes if isinstance(right, Right) else right for mount, right in rights.items()}
                for client, rights in self.clients.items()
            }
        )

    @property
    def guards(self) -> Iterator[tuple[KeyPath, str, Guards]]:
        """All guards: where they stand, for which mount. A client's have the path `clients.NAME.MOUNT.guards`."""
        for name, mount in self.mounts.items():
            if mount.guards is not None:
                yield ("mounts", name, "guards"), name, mount.guards
        for client, rights in ({} if isinstance(self.clients, str) else self.clients).items():
            for name, right in rights.items():
                if isinstance(right, Right) and right.guards is not None:
                    yield ("clients", client, name, "guards"), name, right.guards

    def invalid(self, problem: Problem) -> ConfigInvalid:
        """To be raised for something that shows only when a file that it names is opened."""
        return ConfigInvalid([problem], self.name, self._merged.document)

    def grant_of(self, mount: str) -> str:
        """The name of the grant that a mount uses."""
        return self.mounts[mount].grant or mount

    def mark(self, path: KeyPath) -> Mark | None:
        """Where a value stands in the file; None if it came from elsewhere."""
        return self._merged.mark(path)

    def origin(self, path: KeyPath) -> str:
        """`config.yaml:12`, `BEARERD_LOG__LEVEL`, `command line` or `default`."""
        return self._merged.origin(path)

    def problem(self, path: KeyPath, message: str, fix: str | None = None, *, at_key: bool = False) -> Problem:
        """A problem with the value at `path`, for checks that need more than this file."""
        return self._merged.problem(path, message, fix, at_key=at_key)

    def effective(self) -> dict[str, Any]:
        """All values in force as plain data, secrets as `***`, what is not set left out."""
        shown: dict[str, Any] = plain(self)
        return shown if self.console else shown | {"console": "off"}

    def to_yaml(self, *, origin: bool = False) -> str:
        """`effective()` as YAML; with `origin`, each value is followed by where it came from."""
        return to_yaml(self.effective(), self.origin if origin else None)


def _covers(plain: Tcp, address: Address) -> bool:
    """Whether who listens at the one is called at the other, too."""
    if not isinstance(address, Tcp):
        return False
    return plain.host == address.host or (plain.everywhere and (":" in plain.host) is (":" in address.host))
