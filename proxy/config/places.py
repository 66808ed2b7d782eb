"""Places as they stand in a configuration: files, addresses, the store, the master key. Validators of the models.

`info.context` has `base`, the configuration's directory, and `home`. All raise `Wrong`.
"""

from pathlib import Path

from pydantic import ValidationInfo

from proxy.config.address import TLS, Address, Tcp, Wrong, addresses
from proxy.config.database import database
from proxy.dsn import FORM, is_database


def resolve(text: str, base: Path, home: Path) -> Path:
    """`~` → the home directory; what is not absolute starts at `base`, the configuration's directory."""
    if text == "~" or text.startswith("~/"):
        return home / text[2:]
    return base / text


def located(text: str, info: ValidationInfo) -> Path:
    """A path as it is meant in this configuration."""
    context = info.context or {}
    return resolve(text, context.get("base", Path()), context.get("home", Path("~")))


def path(value: object, info: ValidationInfo) -> Path:
    """A file or directory."""
    if not isinstance(value, str) or not value:
        raise Wrong("must be a path", "write it as text")
    return located(value, info)


def listened(value: object, info: ValidationInfo) -> tuple[Address, ...]:
    """Where clients call: one address or a list."""
    found: list[Address] = []
    for text in value if isinstance(value, list) else [value]:
        if not isinstance(text, str):
            raise Wrong("must be an address", "write 127.0.0.1:PORT or unix:PATH")
        if text.startswith("unix:") and len(text) > len("unix:"):
            found += addresses(f"unix:{located(text.removeprefix('unix:'), info)}")
        else:
            found += addresses(text)
    if not found:
        raise Wrong("needs at least one address", "write 127.0.0.1:PORT")
    return tuple(found)


def looked_at(value: object, info: ValidationInfo) -> tuple[Address, ...]:
    """Where an operator looks; nothing for `off`."""
    found = () if value in ("off", ["off"]) else listened(value, info)
    if any(isinstance(address, Tcp) and address.tls for address in found):
        raise Wrong(f"`{TLS}` is for `listen`; beyond this machine the console has TLS anyway", "remove it")
    return found


def store(text: str, info: ValidationInfo) -> str:
    """Where tokens rest."""
    kind, _, rest = text.partition(":")
    if is_database(text):
        return database(text)
    if kind != "sqlite" or not rest:
        raise Wrong("is no kind of store", f"write sqlite:PATH, or for a database {FORM.removeprefix('write ')}")
    return f"sqlite:{located(rest, info)}"


def key(text: str, info: ValidationInfo) -> str:
    """Where the master key comes from."""
    kind, _, rest = text.partition(":")
    if text == "passphrase" or (kind in ("env", "credential", "command") and rest):
        return text
    if kind != "file" or not rest:
        forms = "file:PATH, env:NAME, credential:NAME, command:COMMAND or passphrase"
        raise Wrong("does not say where the master key is", f"write {forms}")
    return f"file:{located(rest, info)}"
