"""Where the master key comes from: `file:PATH`, `env:NAME`, `credential:NAME`, `command:…` or `passphrase`.

A key has 32 bytes, written as base64 or hex. No message ever shows one, or part of one.
"""

import base64
import binascii
import json
import os
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from proxy.store import Damaged, KeyUnavailable, Newer, StoreError
from proxy.store.files import (
    check_directory,
    make_directory,
    read_private,
    read_provided,
    sync_directory,
    write_private,
)
from proxy.store.sealing import KEY_SIZE

KINDS = ("file", "env", "credential", "command", "passphrase")
_PARAMETERS = 1  # the format of what is kept of a passphrase
_SALT = 16  # bytes
_PASSPHRASE = "BEARERD_PASSPHRASE"  # noqa: S105  the name of a variable


@dataclass(frozen=True, slots=True)
class Cost:
    """What Argon2id is asked for: `memory` in KiB, passes, lanes."""

    memory: int
    passes: int
    lanes: int


COST = Cost(65536, 3, 4)
FLOOR = Cost(19456, 2, 1)  # a file that asks for less was tampered with
CEILING = Cost(1048576, 64, 64)  # and one that asks for more would only exhaust the machine


@dataclass(frozen=True, slots=True)
class Source:
    """One place that a master key comes from. Nothing is read before `load`, `create` or `candidates`.

    `spec` is the setting; a relative path in it counts from `base`. `state` is the state directory, where the
    parameters of a passphrase are kept. A secret read from `environ` is taken out of it, and remembered here, so that
    it can be loaded again. `prompt` asks a person, if there is one; `warn` hears what should be changed. A command gets
    `command_seconds`.
    """

    spec: str
    base: Path
    state: Path | None = None
    environ: MutableMapping[str, str] = field(default_factory=dict, repr=False)
    prompt: Callable[[str], str] | None = field(default=None, repr=False)
    warn: Callable[[str], None] = field(default=lambda _: None, repr=False)
    command_seconds: float = 10.0
    _told: dict[str, str] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def kind(self) -> str:
        """One of `KINDS`. `KeyUnavailable` for anything else."""
        kind, _, rest = self.spec.partition(":")
        if kind not in KINDS or bool(rest) == (kind == "passphrase"):
            raise KeyUnavailable(
                f"the setting `key` has the unknown form {kind!r}: write file:PATH, env:NAME, credential:NAME, "
                "command:… or passphrase"
            )
        return kind

    @property
    def place(self) -> Path | None:
        """The file that a new key would change: the key itself, or a passphrase's parameters. None: not ours."""
        if self.kind == "file":
            return self.base / Path(self._rest).expanduser()
        if self.kind == "passphrase":
            if self.state is None:
                raise KeyUnavailable("a passphrase needs the state directory for its parameters")
            return self.state / "passphrase.json"
        return None

    @property
    def staged(self) -> Path | None:
        """Where the next key waits while a store is being sealed again."""
        place = self.place
        return None if place is None else place.with_name(place.name + ".new")

    def load(self) -> bytes:
        """The key. `KeyUnavailable` or `UnsafeFile` with the reason. Blocks, for up to 10 s with a command."""
        return next(self.candidates())[0]

    def candidates(self) -> Iterator[tuple[bytes, bool]]:
        """The key, and then the staged one if there is any, with True. A person is asked only once."""
        match self.kind:
            case "file":
                yield self._from_file(self.place), False
                if _exists(self.staged):
                    yield self._from_file(self.staged), True
            case "passphrase":
                yield from self._from_passphrase()
            case "env":
                yield _decode(self._from_environment(), self.spec), False
            case "credential":
                yield self._from_credential(), False
            case _:
                yield self._from_command(), False

    def create(self) -> bytes:
        """Make a new key where this source can hold one, durably, and return it; else the one that is there.

        `KeyUnavailable` if one is there already: it may be the only way to a store.
        """
        return self._make(self.place) if self.place is not None else self.load()

    def stage(self) -> bytes:
        """Make a new key beside the one in use, durably, and return it. `KeyUnavailable` if others hold the key."""
        staged = self.staged
        if staged is None:
            raise KeyUnavailable(f"bearerd cannot change a key from {self.kind}; name another source for the new one")
        return self._make(staged, replace=True)

    def promote(self) -> None:
        """Put the staged key in the place of the one in use. Without a staged one nothing happens."""
        place, staged = self.place, self.staged
        if place is not None and staged is not None and staged.exists():
            staged.replace(place)
            sync_directory(place.parent)

    @property
    def _rest(self) -> str:
        return self.spec.partition(":")[2]

    def _make(self, path: Path, *, replace: bool = False) -> bytes:
        try:
            if not path.parent.exists():
                make_directory(path.parent)
            # The directory of a key may be shared with a configuration that others read, but not write.
            check_directory(path.parent, private=False)
            key, text = _new_key() if self.kind == "file" else self._new_passphrase()
            write_private(path, text, replace=replace)
        except FileExistsError:
            raise KeyUnavailable(f"{path} exists already; it is left as it is") from None
        except OSError as fault:
            raise KeyUnavailable(f"{path}: {fault.strerror}") from None
        return key

    def _from_file(self, path: Path | None) -> bytes:
        if path is None:
            raise KeyUnavailable("this key is in no file")
        return _decode(_read(path, private=True), str(path))

    def _from_environment(self) -> str:
        name = self._rest
        if name in self._told:
            return self._told[name]
        text = self.environ.pop(name, None)
        if text is None:
            raise KeyUnavailable(f"the environment variable {name} is not set")
        self._told[name] = text
        self.warn(
            f"the master key comes from the environment variable {name}: other programs of this user can read it "
            "in /proc; better use file:, credential: or command:"
        )
        return text

    def _from_credential(self) -> bytes:
        directory = self.environ.get("CREDENTIALS_DIRECTORY")
        if not directory:
            raise KeyUnavailable("$CREDENTIALS_DIRECTORY is not set: use LoadCredential= in the unit of the service")
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", self._rest):
            raise KeyUnavailable("the name of a credential has only letters, digits, dot, hyphen and underscore")
        path = Path(directory) / self._rest
        return _decode(_read(path, private=False), str(path))

    def _from_command(self) -> bytes:
        try:
            words = shlex.split(self._rest)
            done = subprocess.run(  # noqa: S603  the operator's own setting, no shell
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=dict(self.environ),
                cwd=self.base,
                timeout=self.command_seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise KeyUnavailable(
                f"the command for the master key took longer than {self.command_seconds:g} s"
            ) from None
        except OSError as fault:
            raise KeyUnavailable(f"the command for the master key cannot be started: {fault.strerror}") from None
        except ValueError as fault:
            raise KeyUnavailable(f"the command for the master key cannot be read: {fault}") from None
        if done.returncode != 0:
            raise KeyUnavailable(f"the command for the master key ended with {done.returncode}")
        return _decode(done.stdout.decode("ascii", "replace"), "the output of the command for the master key")

    # -- passphrase ---------------------------------------------------------------------------------------------------

    def _from_passphrase(self) -> Iterator[tuple[bytes, bool]]:
        place, staged = self.place, self.staged
        if place is None or not _exists(place):
            raise KeyUnavailable(f"{place} is missing: without it a passphrase opens nothing; run: bearerd init")
        parameters = _parameters(place)
        passphrase = self._passphrase("Passphrase: ")
        yield _derive(passphrase, *parameters), False
        if staged is not None and _exists(staged):
            yield _derive(passphrase, *_parameters(staged)), True

    def _new_passphrase(self) -> tuple[bytes, bytes]:
        passphrase = self._passphrase("New passphrase: ", twice=True)
        salt = os.urandom(_SALT)
        value = {
            "version": _PARAMETERS,
            "kdf": "argon2id",
            "memory_kib": COST.memory,
            "passes": COST.passes,
            "lanes": COST.lanes,
            "salt": salt.hex(),
        }
        return _derive(passphrase, salt, COST), json.dumps(value, indent=2).encode() + b"\n"

    def _passphrase(self, question: str, *, twice: bool = False) -> str:
        if not twice and _PASSPHRASE in self._told:
            return self._told[_PASSPHRASE]
        given, file = self.environ.pop(_PASSPHRASE, None), self.environ.get(_PASSPHRASE + "_FILE")
        if given is not None and file is not None:
            raise KeyUnavailable(f"both {_PASSPHRASE} and {_PASSPHRASE}_FILE are set; keep one")
        if file is not None:
            text = _read(Path(file), private=False).removesuffix("\n").removesuffix("\r")
        elif given is not None:
            text = given
        elif self.prompt is not None:
            text = self.prompt(question)
            if twice and text != self.prompt("Once more: "):
                raise KeyUnavailable("the two passphrases differ")
        else:
            raise KeyUnavailable(f"nobody to ask for the passphrase: set {_PASSPHRASE}_FILE, or start on a terminal")
        if not text:
            raise KeyUnavailable("the passphrase is empty")
        try:
            text.encode()
        except UnicodeEncodeError:  # a variable with bytes of another encoding
            raise KeyUnavailable("the passphrase is not text in UTF-8") from None
        self._told[_PASSPHRASE] = text
        return text


def load(
    spec: str,
    *,
    base: Path,
    state: Path | None = None,
    environ: MutableMapping[str, str] | None = None,
    prompt: Callable[[str], str] | None = None,
) -> bytes:
    """The master key of `spec`, 32 bytes. See `Source`."""
    return Source(spec, base, state, {} if environ is None else environ, prompt).load()


def _new_key() -> tuple[bytes, bytes]:
    key = os.urandom(KEY_SIZE)
    return key, base64.b64encode(key) + b"\n"


def _exists(path: Path | None) -> bool:
    return path is not None and os.path.lexists(path)


def _read(path: Path, *, private: bool) -> str:
    try:
        if private:
            check_directory(path.parent, private=False)
        return (read_private if private else read_provided)(path).decode("utf-8")
    except FileNotFoundError:
        raise KeyUnavailable(f"{path} is missing") from None
    except OSError as fault:
        raise KeyUnavailable(f"{path}: {fault.strerror}") from None
    except UnicodeDecodeError:
        raise KeyUnavailable(f"{path} is not text") from None


def _decode(text: str, where: str) -> bytes:
    text = text.strip()
    key = b""
    try:
        key = bytes.fromhex(text) if len(text) == 2 * KEY_SIZE else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if len(key) != KEY_SIZE:
        raise KeyUnavailable(f"{where} does not hold a master key: 32 bytes in base64 or hex")
    return key


def _parameters(path: Path) -> tuple[bytes, Cost]:
    try:
        value: Any = json.loads(_read(path, private=True))
        found = value["version"]
        if found > _PARAMETERS:
            raise Newer(f"{path} was written by a newer bearerd (format {found}; this one knows {_PARAMETERS})")
        if found != _PARAMETERS or value["kdf"] != "argon2id":
            raise Damaged(f"{path} does not hold the parameters of a passphrase")
        salt = bytes.fromhex(value["salt"])
        cost = Cost(int(value["memory_kib"]), int(value["passes"]), int(value["lanes"]))
    except (ValueError, KeyError, TypeError):
        raise Damaged(f"{path} does not hold the parameters of a passphrase") from None
    if len(salt) < _SALT or not _within(cost):
        raise Damaged(f"{path} asks for a weaker or costlier derivation than bearerd ever writes; it was tampered with")
    return salt, cost


def _within(cost: Cost) -> bool:
    return (
        FLOOR.memory <= cost.memory <= CEILING.memory
        and FLOOR.passes <= cost.passes <= CEILING.passes
        and FLOOR.lanes <= cost.lanes <= CEILING.lanes
    )


def _derive(passphrase: str, salt: bytes, cost: Cost) -> bytes:
    try:
        kdf = Argon2id(salt=salt, length=KEY_SIZE, iterations=cost.passes, lanes=cost.lanes, memory_cost=cost.memory)
        return kdf.derive(passphrase.encode())
    except UnsupportedAlgorithm:
        raise KeyUnavailable("a passphrase needs a `cryptography` that was built with OpenSSL 3.2 or newer") from None
    except MemoryError:
        raise StoreError(f"not enough memory to derive the key: it takes {cost.memory} KiB") from None
