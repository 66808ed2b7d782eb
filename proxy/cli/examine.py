"""What `bearerd doctor` looks at on this machine: the system, files, the master key and the store, ports, the server.

Everything here looks and changes nothing. A check that cannot be made says so.
"""

import asyncio
import ctypes
import errno
import os
import pwd
import resource
import shutil
import stat
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from proxy import __version__, logs
from proxy.admin import CommandFailed, ServerGone, call
from proxy.cli.exits import explain
from proxy.cli.invocation import Invocation, interactive
from proxy.cli.output import BAD, GOOD, NOTE, home_short
from proxy.cli.server import PROBE
from proxy.cli.storefacts import facts, holder
from proxy.clock import SystemClock
from proxy.config import Config, Tcp
from proxy.custody import journal_path, socket_path
from proxy.inforce import Local, Unfit, load
from proxy.settings import Settings
from proxy.sockets import bind_tcp
from proxy.spans import clock_time, span
from proxy.store import StoreError, UnsafeFile
from proxy.store.files import check_directory
from proxy.tokens.skew import ADVICE

_SPARE_FILES = 256  # beside one for each connection, and one towards a broker
_SCARCE, _LOW = 10 << 20, 200 << 20  # bytes free where tokens and the audit trail are written
_SOON = 14 * 86_400.0  # seconds before a certificate's end in which it is worth a word
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_TIMEX = 512  # bytes: more than any `struct timex` has
_NOT_IN_STEP = 5  # TIME_ERROR of adjtimex(2)


Subject = TypeVar("Subject", Config, Settings)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `mark` is GOOD, NOTE or BAD; `fix` is the next thing to do."""

    what: str
    mark: str
    text: str
    fix: str | None = None

    def document(self) -> dict[str, Any]:
        """As `--json` prints it."""
        word = {GOOD: "good", NOTE: "note", BAD: "bad"}[self.mark]
        fix = None if self.fix is None else said(self.fix)
        return {"check": self.what, "finding": word, "text": said(self.text), "fix": fix}


def said(text: str) -> str:
    """A text in one line, without secrets: what a database or a server says may have several."""
    return logs.redact(" ".join(text.split()))


def system(config: Config) -> Iterator[Finding]:
    """Python, open files, the clock as the system keeps it."""
    yield Finding("python", GOOD, f"{sys.version.split()[0]} on {sys.platform}, bearerd {__version__}")
    wanted = config.limits.connections * 2 + _SPARE_FILES
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < wanted:
        text = f"{most} are allowed here; `limits.connections` of {config.limits.connections} may need {wanted}"
        yield Finding("open files", NOTE, text, "raise it (ulimit -Hn, LimitNOFILE), or lower `limits.connections`")
    else:
        yield Finding("open files", GOOD, "as many as `limits.connections` needs")
    match _in_step():
        case True:
            yield Finding("clock", GOOD, "the system keeps it in step with a time server")
        case False:
            yield Finding("clock", NOTE, "the system does not keep it in step with a time server", ADVICE)
        case _:
            yield Finding("clock", NOTE, "the system does not tell whether it is kept in step with a time server")


def _in_step() -> bool | None:
    """Whether the kernel's clock is disciplined; None if it does not tell (macOS, some containers)."""
    adjust = getattr(ctypes.CDLL(None), "adjtimex", None)
    if adjust is None:
        return None
    state = int(adjust(ctypes.create_string_buffer(_TIMEX)))  # all zero: only to read
    return None if state < 0 else state != _NOT_IN_STEP


def permissions(config: Config) -> Iterator[Finding]:
    """The configuration, the directories that hold secrets, and room on their disk. Blocks."""
    file = Path(config.name)
    mode = stat.S_IMODE(file.stat().st_mode)
    if mode & _OTHERS_WRITE:
        text = f"{file} may be written by other users (mode {mode:04o}), who could allow what you do not"
        yield Finding("configuration", BAD, text, f"chmod go-w {file}")
    else:
        yield Finding("configuration", GOOD, home_short(str(file)))
    for what, directory in _private(config).items():
        yield _of_directory(what, directory)
    yield _room(config.state_dir)


def _private(config: Config) -> dict[str, Path]:
    found = {"state directory": config.state_dir}
    if config.store_path is not None and config.store_path.parent != config.state_dir:
        found["store's directory"] = config.store_path.parent
    return found


def _of_directory(what: str, directory: Path) -> Finding:
    try:
        if (user := directory.stat().st_uid) != os.geteuid():  # the remedy of `check_directory` takes it from a service
            text = f"{directory} belongs to {_name(user)}, who alone can look at what is in it"
            return Finding(what, BAD, text, f"sudo -u {_name(user)} bearerd doctor")
        check_directory(directory)
    except FileNotFoundError:
        return Finding(what, NOTE, f"{home_short(str(directory))} is made at the first start")
    except UnsafeFile as unsafe:
        text, _, fix = str(unsafe).partition("; run: ")
        return Finding(what, BAD, text, fix or None)
    except OSError as error:
        return Finding(what, BAD, f"{directory} cannot be read: {error.strerror}", "run bearerd as its owner")
    if not os.access(directory, os.W_OK | os.X_OK):
        return Finding(
            what, BAD, f"{directory} cannot be written", "mount it writable, or set `state` to a directory that is"
        )
    return Finding(what, GOOD, home_short(str(directory)))


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"#{user}"


def strange(config: Config) -> bool:
    """Whether the state is another user's: what could be said of store, server and ports would be wrong. Blocks."""
    with suppress(OSError):
        return config.state_dir.stat().st_uid != os.geteuid()
    return False


def _room(directory: Path) -> Finding:
    there = next(each for each in (directory, *directory.parents) if os.path.lexists(each))
    free = shutil.disk_usage(there).free
    if free >= _LOW:
        return Finding("disk", GOOD, f"{free >> 20:,} MiB free for the store and the audit trail")
    text = f"{free >> 20:,} MiB are free at {there}; without room no token is renewed and no order is sent"
    return Finding("disk", BAD if free < _SCARCE else NOTE, text, "make room, or set `audit.keep_days` lower")


def certificates(config: Config) -> Iterator[Finding]:
    """Our own listeners' certificate, if there is one. Blocks."""
    if not config.tls.on:
        return
    now = SystemClock().now().wall
    try:
        ends = load(config.tls, now, expired=True, local=Local.of(config)).ends
    except Unfit as unfit:
        yield Finding("certificate", BAD, f"tls.{unfit.key}: {unfit.message}", unfit.fix)
        return
    if ends <= now:
        yield Finding("certificate", BAD, f"it expired at {clock_time(ends)}", "renew it")
    elif ends - now < _SOON and not config.tls.local_ca:
        yield Finding("certificate", NOTE, f"it ends in {span(ends - now)}, at {clock_time(ends)}", "renew it")
    else:
        yield Finding("certificate", GOOD, f"good until {clock_time(ends)}")


async def custody(invocation: Invocation, config: Config) -> AsyncIterator[Finding]:
    """The master key and the store, with the key that is at hand."""
    given = any(f"BEARERD_PASSPHRASE{end}" in invocation.environ for end in ("", "_FILE"))
    if config.key == "passphrase" and not (given or interactive()):
        yield Finding("store", NOTE, "nobody can be asked for the passphrase here", "run bearerd doctor on a terminal")
        return
    try:
        found = await facts(invocation, config)
    except Exception as error:  # noqa: BLE001  whatever it is, the other checks are still of use
        _, message, fix = explain(error)
        yield Finding("store", BAD, message, fix)
        return
    for problem, fix in found["problems"]:
        yield Finding("store", BAD, str(problem), fix)
    if not found["problems"]:
        rows = sum(found["rows"].values())
        yield Finding("store", GOOD, f"{found['kind']}, {rows} record{'s' * (rows != 1)}; the master key fits")


async def server(config: Config) -> tuple[dict[str, Any] | None, list[Finding]]:
    """What a running server says of itself, and that; None if there is none."""
    try:
        status = await call(socket_path(config), "status", {}, timeout=PROBE)
    except ServerGone as gone:
        return None, [await asyncio.to_thread(_absent, config, gone)]
    except (CommandFailed, StoreError) as error:
        return None, [Finding("server", BAD, str(error), getattr(error, "fix", None))]
    found = [Finding("server", GOOD, f"process {status['pid']} serves {', '.join(status['urls'])}")]
    if status["version"] != __version__:
        text = f"it is bearerd {status['version']}, and this is bearerd {__version__}"
        found.append(Finding("server", NOTE, text, "restart it"))
    found += [Finding("server", NOTE, text) for text in status["warnings"]]
    for mount in status["mounts"]:
        mark = GOOD if mount["usable"] and not mount["fix"] else BAD
        why = " · ".join(filter(None, (mount["state"], mount["warning"] or mount["reason"])))
        if mount["members"]["total"] and mount["state"] == "none":
            mark, why = GOOD, f"{mount['members']['total']} members"
        found.append(Finding(f"mount {mount['name']}", mark, why, mount["fix"]))
    return status, found


def _absent(config: Config, gone: ServerGone) -> Finding:
    """That no server answers: is there none, or does it hang? Blocks."""
    try:
        lock = holder(journal_path(config))
    except (StoreError, OSError):
        lock = {"held": False}
    if not lock["held"]:
        return Finding("server", NOTE, "none runs on this state directory", "bearerd serve")
    who = f"process {lock['pid']}" if lock["pid"] else "another process"
    text = f"{who} has the state directory, and does not answer as a server: {gone}"
    return Finding("server", BAD, text, f"see its log; to end it: kill {lock['pid'] or 'PID'}")


def ports(settings: Settings) -> Iterator[Finding]:
    """Whether a server could listen where it is to. Only while none runs. Blocks."""
    config = settings.config
    roots = [Tcp("127.0.0.1", mount.port) for mount in config.mounts.values() if mount.port]
    for address in (*config.listen, *config.console, *roots):
        if isinstance(address, Tcp) and address.port:
            yield _of_port(address)


def _of_port(address: Tcp) -> Finding:
    try:
        bind_tcp(address).close()
    except OSError as error:
        return Finding(f"port {address}", BAD, str(error), _remedy(error.errno, address))
    return Finding(f"port {address}", GOOD, "free")


def _remedy(number: int | None, address: Tcp) -> str:
    match number:
        case errno.EADDRINUSE:
            return f"`ss -ltnp sport = :{address.port}` says who has it; or choose another port in the configuration"
        case errno.EACCES:
            return "take a port above 1023, or give the service CAP_NET_BIND_SERVICE"
        case errno.EADDRNOTAVAIL:
            return "name an address of this machine (ip address), or 0.0.0.0"
        case _:
            return "choose another address in the configuration"


async def all_of(invocation: Invocation, settings: Settings) -> tuple[list[Finding], dict[str, Any] | None]:
    """Everything that can be looked at without the network, and what a running server says of itself."""
    config = settings.config
    found: list[Finding] = []
    for look in (system, permissions, certificates):
        found += await asyncio.to_thread(_listed, look, config)
    if await asyncio.to_thread(strange, config):
        return found, None
    found += [finding async for finding in custody(invocation, config)]
    status, told = await server(config)
    found += told
    if status is None:
        found += await asyncio.to_thread(_listed, ports, settings)
    return found, status


def _listed(look: Callable[[Subject], Iterator[Finding]], at: Subject) -> list[Finding]:
    found: list[Finding] = []
    try:
        found.extend(look(at))
    except OSError as error:  # a folder on the way to it is not for us; the other checks are still of use
        found.append(Finding(look.__name__, BAD, explain(error)[1]))
    return found
