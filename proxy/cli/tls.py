"""`bearerd tls`: a local certificate authority for programs that insist on TLS."""

import re
import shlex
import sys
from typing import TYPE_CHECKING, Any

import click

from proxy.cli.exits import Exit, Stop
from proxy.cli.invocation import Group, current
from proxy.cli.output import home_short
from proxy.clock import SystemClock
from proxy.spans import ago, clock_time, span

if TYPE_CHECKING:
    from proxy.config import Config
    from proxy.localca import LocalCa
    from proxy.trustfiles import TrustFiles

PORT = 8443
LINES = """\
To use it, in {config}:
  listen: [127.0.0.1:8080, "tls:127.0.0.1:{port}"]
  tls: {{local_ca: true}}"""
TRUST = """\
`bearerd run -- CMD` and `bearerd env` set what programs need. By hand:
  Node.js                       NODE_EXTRA_CA_CERTS={ca}
  Python, Go, Ruby, .NET (Linux) SSL_CERT_FILE={bundle}
  requests (Python)             REQUESTS_CA_BUNDLE={bundle}
  curl, R                       CURL_CA_BUNDLE={bundle}, or: curl --cacert {ca}
  Java                          keytool -importcert -noprompt -alias bearerd -file {ca} \\
                                  -keystore bearerd.p12 -storetype PKCS12 -storepass changeit
                                java -Djavax.net.ssl.trustStore=bearerd.p12 -Djavax.net.ssl.trustStorePassword=changeit
All that a person runs, and browsers; nothing of this is done by bearerd:
  Debian, Ubuntu                sudo cp {ca} /usr/local/share/ca-certificates/bearerd.crt && sudo update-ca-certificates
  Fedora, RHEL                  sudo trust anchor {ca}
  macOS                         security add-trusted-cert -r trustRoot -k ~/Library/Keychains/login.keychain-db {ca}
  Windows, .NET there           certutil -user -addstore Root ca.pem
No program needs to be told to skip verification."""


@click.group(cls=Group)
def tls() -> None:
    """A certificate authority of your own, for programs on this machine that insist on https:// or wss://."""


@tls.command()
@click.option("--name", "names", multiple=True, metavar="NAME", help="Also for this name or address; repeatable.")
@click.option("--replace", is_flag=True, help="Make another in its place. Whoever trusts the old one has to anew.")
def init(names: tuple[str, ...], *, replace: bool) -> None:
    """Make the authority. It can sign for this machine, for the names of `allowed_hosts` and --name, and no others.

    A running server has it in force within two seconds. If there is one already, it is left as it is.
    """
    from proxy import localca, trustfiles

    invocation = current()
    config = invocation.settings().config
    wanted = dict.fromkeys([*localca.beyond(config), *map(_name, names)])
    file = localca.file_of(config)
    made = replace or not file.exists()
    now = SystemClock().now().wall
    authority = localca.make(file, list(wanted), now, replace=replace) if made else _read(config)
    files = trustfiles.publish(config.tls_directory, authority.pem)
    if invocation.as_json:
        invocation.data({"made": made, **_facts(authority, files)})
        return
    if not made:
        invocation.say(f"There is a local CA already, {home_short(str(files.ca))}; nothing was changed.")
        if lacking := authority.lacks(wanted):
            invocation.say(f"It was made without {', '.join(lacking)}. To make another: bearerd tls init --replace")
        return
    invocation.say(f"✓ made a local CA, {home_short(str(files.ca))}, until {clock_time(authority.ends)}")
    invocation.say(f"  It can sign for {_limits(authority)} (and names below these), and for nothing else.")
    for name in authority.names:
        if "." not in name and ":" not in name and name != "localhost":
            invocation.warn(f"! {name} stands for everything that ends in .{name}: better give whole names")
    if not config.tls.local_ca:
        invocation.say(LINES.format(config=config.name, port=PORT))
    invocation.say("How programs come to trust it: bearerd tls show")


@tls.command()
@click.option("--pem", is_flag=True, help="Print the certificate itself, and nothing else.")
def show(*, pem: bool) -> None:
    """The authority: its fingerprint, its end, what it can sign for, and how programs come to trust it."""
    from proxy import trustfiles

    invocation = current()
    config = invocation.settings().config
    authority = _read(config)
    if pem:
        click.echo(authority.pem.decode(), nl=False)
        return
    files = trustfiles.publish(config.tls_directory, authority.pem)
    if invocation.as_json:
        invocation.data(_facts(authority, files))
        return
    now = SystemClock().now().wall
    ends = f"in {span(authority.ends - now)}" if now < authority.ends else ago(authority.ends, now)
    rows = {
        "name": authority.name,
        "certificate": str(files.ca),
        "bundle": f"{files.bundle} (the system's authorities, and this one)" if files.bundle else "none",
        "SHA-256": authority.fingerprint,
        "ends": f"{clock_time(authority.ends)}, {ends}",
        "signs for": f"{_limits(authority)}, and for nothing else",
        "in use": "yes" if config.tls.local_ca else "no: `tls: {local_ca: true}` is not in the configuration",
    }
    for name, text in rows.items():
        click.echo(f"{name:<12} {text}")
    sys.stdout.flush()
    ca, bundle = shlex.quote(str(files.ca)), shlex.quote(str(files.bundle or files.ca))
    invocation.say("\n" + TRUST.format(ca=ca, bundle=bundle))


def _read(config: "Config") -> "LocalCa":
    from proxy.localca import NoAuthority, file_of, read

    try:
        return read(file_of(config))
    except NoAuthority as error:
        raise Stop(error.message, Exit.FAILURE, error.fix.removeprefix("run: ")) from None


def _facts(authority: "LocalCa", files: "TrustFiles") -> dict[str, Any]:
    return {
        "name": authority.name,
        "ca_file": str(files.ca),
        "bundle": str(files.bundle) if files.bundle is not None else None,
        "sha256": authority.fingerprint,
        "begins": authority.begins,
        "ends": authority.ends,
        "signs_for": list(authority.names),
    }


def _limits(authority: "LocalCa") -> str:
    return ", ".join(name.removesuffix("/32").removesuffix("/128") for name in authority.names)


def _name(text: str) -> str:
    """A name or address without a port; a usage error for anything else."""
    import ipaddress

    from proxy.config.model import HOST_PATTERN

    try:
        return str(ipaddress.ip_address(text.strip("[]").replace("%", " ")))  # no certificate holds a zone
    except ValueError:
        if not re.fullmatch(HOST_PATTERN, text, re.ASCII):
            raise click.UsageError("--name: a name in lower case or an address, without a port.") from None
        return text


def prepare(config: "Config") -> str | None:
    """Make the authority that a configuration asks for and that is missing; what was done, for a person."""
    from proxy import localca, trustfiles

    file = localca.file_of(config)
    if not config.tls.local_ca or file.exists():
        return None
    authority = localca.make(file, localca.beyond(config), SystemClock().now().wall)
    files = trustfiles.publish(config.tls_directory, authority.pem)
    return f"made a local CA, {home_short(str(files.ca))}; more of it: bearerd tls show"
