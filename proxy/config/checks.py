"""The sections held against each other.

These checks read the raw tree and step over what is not of the right shape, so that one wrong key hides no other
mistake: the models report shapes, this file reports contradictions, both in one run.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from proxy.config.address import Address, Tcp, Wrong, addresses
from proxy.config.merge import Merged
from proxy.config.model import OPEN
from proxy.config.portrange import port_range
from proxy.config.problem import Path, Problem, did_you_mean
from proxy.dsn import is_database

_LISTEN_DEFAULT = "127.0.0.1:8080"
_CONSOLE_DEFAULT = "127.0.0.1:8081"


def contradictions(merged: Merged) -> Iterator[Problem]:
    """All problems between sections, in no particular order."""
    yield from _clients(merged)
    yield from _grants(merged)
    yield from _secrets(merged)
    yield from _tls(merged)
    yield from _unix_socket(merged)
    yield from _reach(merged)
    yield from _ports(merged)


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _sections(value: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    return ((name, section) for name, section in _mapping(value).items() if isinstance(section, dict))


def _texts(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _unknown(word: str, known: Mapping[str, Any]) -> str:
    listed = ", ".join(known) or "none yet"
    return did_you_mean(word, known) or f"known here: {listed}"


def _clients(merged: Merged) -> Iterator[Problem]:
    """A client's mounts exist, and it may do nothing there that the mount itself does not allow."""
    mounts = _mapping(merged.data.get("mounts"))
    for client, rights in _sections(merged.data.get("clients")):
        for mount, scopes in rights.items():
            path: Path = ("clients", client, mount)
            if mount not in mounts:
                yield merged.problem(path, f"no mount is called '{mount}'", _unknown(mount, mounts), at_key=True)
                continue
            allowed = _mapping(mounts[mount]).get("scopes")
            if not isinstance(allowed, list):
                continue
            if isinstance(scopes, dict):  # with guards beside them
                scopes, path = scopes.get("scopes"), (*path, "scopes")  # noqa: PLW2901
            for index, scope in enumerate(scopes if isinstance(scopes, list) else ()):
                if isinstance(scope, str) and scope not in allowed:
                    message = f"scope '{scope}' is not among mounts.{mount}.scopes"
                    fix = did_you_mean(scope, _texts(allowed)) or "add it there or remove it here"
                    yield merged.problem((*path, index), message, fix)


def _grants(merged: Merged) -> Iterator[Problem]:
    """Mounts that share a grant are of one broker and environment; each grant that is described is used."""
    first: dict[str, tuple[str, dict[str, Any]]] = {}
    for mount, section in _sections(merged.data.get("mounts")):
        named = section.get("grant")
        grant = named if isinstance(named, str) else mount
        owner, described = first.setdefault(grant, (mount, section))
        for key in ("broker", "environment"):
            here, there = section.get(key), described.get(key)
            if here != there and None not in (here, there):
                message = f"differs from mounts.{owner}.{key}, though both use grant '{grant}'"
                yield merged.problem(("mounts", mount, key), message, "make them equal or give each its own grant")
    for grant, _ in _sections(merged.data.get("grants")):
        if grant not in first:
            message = f"no mount uses grant '{grant}'"
            yield merged.problem(("grants", grant), message, _unknown(grant, first), at_key=True)


def _secrets(merged: Merged) -> Iterator[Problem]:
    for key in ("store_password", "store_password_file"):
        store = merged.data.get("store")
        if merged.data.get(key) is not None and not (isinstance(store, str) and is_database(store)):
            yield merged.problem((key,), "the store is no database, and has no password", "remove it", at_key=True)
    if None not in (merged.data.get("store_password"), merged.data.get("store_password_file")):
        message = "store_password is given too"
        yield merged.problem(("store_password_file",), message, "remove one of the two", at_key=True)
    for grant, section in _sections(merged.data.get("grants")):
        apps = ((("grants", grant, "apps", name), app) for name, app in _sections(section.get("apps")))
        places: list[tuple[Path, dict[str, Any]]] = [(("grants", grant), section), *apps]
        for path, described in places:
            if None not in (described.get("client_secret"), described.get("client_secret_file")):
                message = "client_secret is given too"
                yield merged.problem((*path, "client_secret_file"), message, "remove one of the two", at_key=True)


def _listeners(merged: Merged) -> Iterator[tuple[Path, Address]]:
    """Each address of `listen` and `console` that can be read, with its path."""
    for key, default in (("listen", _LISTEN_DEFAULT), ("console", _CONSOLE_DEFAULT)):
        value = merged.data.get(key, default)
        for index, text in enumerate(value if isinstance(value, list) else [value]):
            path: Path = (key, index) if isinstance(value, list) else (key,)
            with suppress(Wrong):  # reported by the model
                yield from ((path, found) for found in (addresses(text) if isinstance(text, str) else ()))


def _encrypts(merged: Merged) -> bool:
    """Whether there is a certificate of our own."""
    section = _mapping(merged.data.get("tls"))
    return section.get("certificate_file") is not None or section.get("local_ca") is True


def _plain(merged: Merged) -> Iterator[tuple[Path, Tcp]]:
    """The TCP addresses of `listen` and `console` at which no TLS is spoken."""
    found = [(path, address) for path, address in _listeners(merged) if isinstance(address, Tcp)]
    if not _encrypts(merged):
        yield from found
        return
    mixed = any(address.tls for _, address in found)
    for path, address in found:
        if (mixed and not address.tls) if path[0] == "listen" else address.loopback:
            yield path, address


def _tls(merged: Merged) -> Iterator[Problem]:
    """Certificate and key go together, and all else needs them."""
    section = _mapping(merged.data.get("tls"))
    on = _encrypts(merged)
    for given, lacking in (("certificate_file", "key_file"), ("key_file", "certificate_file")):
        if section.get("local_ca") is True and section.get(given) is not None:
            message = "certificates come from a file or from the local authority, not from both"
            yield merged.problem(("tls", given), message, "remove it, or tls.local_ca", at_key=True)
        elif section.get(given) is not None and section.get(lacking) is None:
            yield merged.problem(("tls", given), f"{lacking} is missing, which belongs to it", f"add tls.{lacking}")
    if section.get("client_ca_file") is not None and not on and section.get("key_file") is None:
        message = "clients can be asked for a certificate only where this server has one"
        yield merged.problem(("tls", "client_ca_file"), message, "add tls.certificate_file and tls.key_file")
    if section.get("client_certificate") == "named" and section.get("client_ca_file") is None:
        message = "clients are not asked for a certificate"
        yield merged.problem(("tls", "client_certificate"), message, "add tls.client_ca_file or remove it")
    if section.get("client_certificate") == "named" and merged.data.get("clients") in (OPEN, None, {}):
        message = "there are no clients whose name a certificate could hold"
        yield merged.problem(("tls", "client_certificate"), message, "name the `clients:` that may call, or remove it")
    plain = list(_plain(merged))
    if on and merged.data.get("plaintext") is not None and all(address.loopback for _, address in plain):
        message = "nothing is sent in plain text where `tls` has a certificate"
        yield merged.problem(("plaintext",), message, "remove it", at_key=True)
    yield from _tls_addresses(merged, plain)


def _tls_addresses(merged: Merged, plain: Iterable[tuple[Path, Tcp]]) -> Iterator[Problem]:
    """`tls:` in front of an address needs a certificate; clients' certificates are asked for only there."""
    for path, address in _listeners(merged):
        if path[0] == "listen" and isinstance(address, Tcp) and address.tls and not _encrypts(merged):
            fix = "add tls.certificate_file and tls.key_file, or `tls: {local_ca: true}` and run: bearerd tls init"
            yield merged.problem(path, f"there is no certificate for {address.written}", fix)
    if _encrypts(merged) and _mapping(merged.data.get("tls")).get("client_ca_file") is not None:
        for path, address in plain:
            if path[0] == "listen":
                fix = f"write tls:{address}, or remove tls.client_ca_file"
                yield merged.problem(path, f"at {address} no client would be asked for its certificate", fix)


def _unix_socket(merged: Merged) -> Iterator[Problem]:
    """Whom the mode lets in must be named: a mode alone lets in whoever is put into a group later."""
    section = _mapping(merged.data.get("unix_socket"))
    if section.get("mode", "0600") != "0600" and not section.get("users") and not section.get("groups"):
        message = f"mode {section.get('mode')} lets other users connect, and nobody is named who may"
        yield merged.problem(("unix_socket", "mode"), message, "name unix_socket.users or unix_socket.groups")


def _reach(merged: Merged) -> Iterator[Problem]:
    """Beyond this machine there must be client keys, and TLS or somebody who accepts that the network is read along."""
    clients = merged.data.get("clients")
    plain = {path for path, _ in _plain(merged)}
    for path, address in _listeners(merged):
        if address.loopback:
            continue
        if path[0] == "listen" and clients in (OPEN, None, {}):
            fix = "name the `clients:` that may call, or listen on 127.0.0.1"
            yield merged.problem(path, f"{address} can be reached from other machines without a client key", fix)
        if merged.data.get("plaintext") is None and path in plain and not (isinstance(address, Tcp) and address.tls):
            add = f"write tls:{address}" if _encrypts(merged) else "add `tls:`"
            fix = f"{add}, listen on 127.0.0.1, or write `plaintext: accepted` if that network is private"
            yield merged.problem(path, f"{address} can be reached from other machines without TLS", fix)


def _ports(merged: Merged) -> Iterator[Problem]:
    """One port, one use. Several addresses of `listen` may share a port."""
    wanted: list[tuple[Path, Path, str, int]] = [
        (path[:1], path, address.host, address.port) for path, address in _listeners(merged) if isinstance(address, Tcp)
    ]
    for mount, section in _sections(merged.data.get("mounts")):
        path: Path = ("mounts", mount, "port")
        port = section.get("port")
        if isinstance(port, int) and not isinstance(port, bool):
            wanted.append((path, path, "", port))
    taken: dict[int, tuple[Path, set[str]]] = {}
    for use, place, host, port in wanted:
        owner, hosts = taken.setdefault(port, (use, set()))
        if port and (owner != use or host in hosts):
            message = f"port {port} is already taken by {'.'.join(map(str, owner))}"
            yield merged.problem(place, message, "choose another, or 0 for any free one")
        hosts.add(host)
    for mount, section in _sections(merged.data.get("mounts")):
        yield from _stream_ports(merged, mount, section.get("stream_ports"), taken)


def _stream_ports(
    merged: Merged, mount: str, value: object, taken: dict[int, tuple[Path, set[str]]]
) -> Iterator[Problem]:
    """No port of a range has another use. The first that has is told of."""
    path: Path = ("mounts", mount, "stream_ports")
    ports: list[int] = []
    with suppress(Wrong):  # reported by the model
        ports = list(port_range(value)) if value is not None else []
    for port in ports:
        owner, _ = taken.setdefault(port, (path, set()))
        if owner != path:
            message = f"port {port} is already taken by {'.'.join(map(str, owner))}"
            yield merged.problem(path, message, "choose other ports")
            return
