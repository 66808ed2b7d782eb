"""The master key: from five places, never shown, and no weaker than it was made."""

import base64
import json
import os
import stat
import sys
import time
from pathlib import Path

import pytest

from proxy.store import Damaged, KeyUnavailable, StoreError, UnsafeFile
from proxy.store.files import write_private
from proxy.store.keys import Source, load

KEY = bytes(range(32))
BASE64, HEX = base64.b64encode(KEY).decode(), KEY.hex()


@pytest.fixture
def warnings() -> list[str]:
    return []


def passphrase(state_dir: Path, text: str = "correct horse") -> Source:
    return Source("passphrase", state_dir, state_dir, {"BEARERD_PASSPHRASE": text})


@pytest.mark.parametrize("text", [BASE64, HEX, HEX.upper(), f"  {BASE64}\n", f"{HEX}\r\n"])
def test_a_key_is_read_from_a_file(state_dir: Path, text: str) -> None:
    """Base64 or hex, with white space around; a relative path counts from the base."""
    write_private(state_dir / "master.key", text.encode())

    assert KEY == load("file:master.key", base=state_dir)
    assert KEY == load(f"file:{state_dir}/master.key", base=Path("/"))


def test_a_home_directory_is_expanded(state_dir: Path) -> None:
    """`~` works as in a shell."""
    assert Path.home() / "k" == Source("file:~/k", state_dir).place


@pytest.mark.parametrize("text", ["", "canary", BASE64[:-4], HEX[:-2], HEX + "00", "g" * 64, "\xff" * 40, BASE64 * 2])
def test_what_is_no_key_is_refused_unseen(state_dir: Path, text: str) -> None:
    """The message names the file and shows nothing of it."""
    write_private(state_dir / "k", text.encode("latin-1"))

    with pytest.raises(KeyUnavailable, match=str(state_dir / "k")) as caught:
        load("file:k", base=state_dir)
    assert not text or text not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_missing_key_file_is_named(state_dir: Path) -> None:
    """One line with the path."""
    with pytest.raises(KeyUnavailable, match=f"{state_dir}/k is missing"):
        load("file:k", base=state_dir)


@pytest.mark.parametrize("looser", ["mode", "link", "directory"])
def test_a_looser_key_file_is_refused(state_dir: Path, looser: str) -> None:
    """Readable by others, a symbolic link, or in a directory that others may write to."""
    path = state_dir / "k"
    write_private(path, BASE64.encode())
    if looser == "mode":
        path.chmod(0o640)
    elif looser == "link":
        path.rename(state_dir / "real").with_name("k").symlink_to("real")
    else:
        state_dir.chmod(0o777)

    with pytest.raises(UnsafeFile):
        load("file:k", base=state_dir)


def test_a_made_key_file_is_private_and_loads(state_dir: Path) -> None:
    """0600 under umask 0, in a directory that is made if it is missing; a second one is never made over it."""
    source = Source("file:config/master.key", state_dir)
    old = os.umask(0)
    try:
        key = source.create()
    finally:
        os.umask(old)
    path = state_dir / "config" / "master.key"

    assert (key, 32) == (source.load(), len(key))
    assert (0o600, 0o700) == (stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode))
    with pytest.raises(KeyUnavailable, match="exists already"):
        source.create()
    assert key == source.load()


def test_two_keys_differ(state_dir: Path) -> None:
    """They are random."""
    assert Source("file:a", state_dir).create() != Source("file:b", state_dir).create()


def test_a_key_from_the_environment_is_taken_out_with_a_warning(state_dir: Path, warnings: list[str]) -> None:
    """Children do not inherit it; the warning says where it still shows."""
    environ = {"MASTER": HEX, "OTHER": "x"}
    source = Source("env:MASTER", state_dir, environ=environ, warn=warnings.append)

    assert [KEY, KEY] == [source.create(), source.load()]
    assert {"OTHER": "x"} == environ
    assert 1 == len(warnings)
    assert "/proc" in warnings[0]
    assert HEX not in warnings[0] + repr(source)
    with pytest.raises(KeyUnavailable, match="MASTER is not set"):
        Source("env:MASTER", state_dir, environ=environ).load()


def test_a_credential_comes_from_the_service_manager(state_dir: Path) -> None:
    """From $CREDENTIALS_DIRECTORY, mode 0400 or 0440; a name cannot lead out of it."""
    (state_dir / "master").write_text(BASE64)
    (state_dir / "master").chmod(0o440)
    environ = {"CREDENTIALS_DIRECTORY": str(state_dir)}

    assert KEY == load("credential:master", base=state_dir, environ=environ)
    for name in ("../master", "a/b", ".hidden"):
        with pytest.raises(KeyUnavailable, match="name of a credential"):
            load(f"credential:{name}", base=state_dir, environ=environ)
    with pytest.raises(KeyUnavailable, match="missing"):
        load("credential:other", base=state_dir, environ=environ)
    with pytest.raises(KeyUnavailable, match="LoadCredential"):
        load("credential:master", base=state_dir)


def test_a_command_prints_a_key(state_dir: Path) -> None:
    """No shell, the base as working directory, the given environment."""
    script = "import os; print(os.environ['K'] if os.getcwd() == os.environ['HERE'] else 'elsewhere')"
    environ = {"K": HEX, "HERE": str(state_dir)}

    assert KEY == load(f'command:{sys.executable} -c "{script}"', base=state_dir, environ=environ)
    with pytest.raises(KeyUnavailable, match="the output of the command"):
        load("command:echo $K", base=state_dir, environ=environ)


@pytest.mark.parametrize(
    ("command", "reason"),
    [("false", "ended with 1"), ("no-such-program", "No such file"), ("echo 'open", "cannot be read")],
)
def test_a_command_that_fails_says_how(state_dir: Path, command: str, reason: str) -> None:
    """Status or reason, never its output."""
    with pytest.raises(KeyUnavailable, match=reason):
        load(f"command:{command}", base=state_dir, environ={"PATH": os.defpath})


def test_the_output_of_a_failing_command_is_not_shown(state_dir: Path) -> None:
    """It may have printed half a secret."""
    with pytest.raises(KeyUnavailable) as caught:
        load("command:sh -c 'echo canary; echo canary >&2; exit 3'", base=state_dir, environ={"PATH": os.defpath})
    assert "canary" not in str(caught.value)


def test_a_command_that_hangs_is_given_up(state_dir: Path) -> None:
    """After its time limit of 10 s, which the test makes shorter."""
    source = Source("command:sleep 30", state_dir, environ={"PATH": os.defpath}, command_seconds=0.1)
    start = time.perf_counter()

    with pytest.raises(KeyUnavailable, match="took longer"):
        source.load()
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize("spec", ["", "master.key", "files:x", "file:", "env:", "passphrase:x", "canary:"])
def test_an_unknown_form_is_refused(state_dir: Path, spec: str) -> None:
    """The message lists the forms."""
    with pytest.raises(KeyUnavailable, match="file:PATH, env:NAME, credential:NAME"):
        load(spec, base=state_dir)


def test_a_passphrase_opens_what_it_made(state_dir: Path) -> None:
    """Same passphrase, same key; another one, another key. The parameters hold no secret and are private."""
    key = passphrase(state_dir).create()
    path = state_dir / "passphrase.json"

    assert key == passphrase(state_dir).load()
    assert key != passphrase(state_dir, "wrong horse").load()
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    value = json.loads(path.read_text())
    assert (65536, 3, 4) == (value["memory_kib"], value["passes"], value["lanes"])


def test_a_passphrase_comes_from_variable_file_or_person(state_dir: Path) -> None:
    """The variable is taken out of the environment; a file loses one newline; a person is asked twice for a new one."""
    environ = {"BEARERD_PASSPHRASE": "correct horse"}
    key = Source("passphrase", state_dir, state_dir, environ).create()
    assert {} == environ
    write_private(state_dir / "secret", b"correct horse\n")
    by_file = {"BEARERD_PASSPHRASE_FILE": str(state_dir / "secret")}
    assert key == Source("passphrase", state_dir, state_dir, by_file).load()
    asked: list[str] = []

    def prompt(question: str) -> str:
        asked.append(question)
        return "correct horse"

    person = Source("passphrase", state_dir, state_dir, {}, prompt)
    assert [key, key] == [person.load(), person.load()]
    assert 1 == len(asked)
    assert "horse" not in repr(person)
    (state_dir / "passphrase.json").unlink()
    Source("passphrase", state_dir, state_dir, {}, prompt).create()
    assert 3 == len(asked)


def test_a_passphrase_that_cannot_be_had_is_refused(state_dir: Path) -> None:
    """Nobody to ask, two sources, an empty one, a typing error, no parameters."""
    with pytest.raises(KeyUnavailable, match=r"passphrase\.json is missing"):
        passphrase(state_dir).load()
    with pytest.raises(KeyUnavailable, match="state directory"):
        load("passphrase", base=state_dir)
    answers = iter(["one", "other"])
    for environ, prompt, reason in (
        ({}, None, "nobody to ask"),
        ({"BEARERD_PASSPHRASE": "a", "BEARERD_PASSPHRASE_FILE": "b"}, None, "keep one"),
        ({"BEARERD_PASSPHRASE": ""}, None, "empty"),
        ({"BEARERD_PASSPHRASE": "latin \udce9"}, None, "the passphrase is not text in UTF-8"),
        ({"BEARERD_PASSPHRASE_FILE": "/no/such/file"}, None, "missing"),
        ({}, lambda _: next(answers), "differ"),
    ):
        with pytest.raises(KeyUnavailable, match=reason):
            Source("passphrase", state_dir, state_dir, environ, prompt).create()
    assert not (state_dir / "passphrase.json").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"memory_kib": 19455},
        {"passes": 1},
        {"lanes": 0},
        {"memory_kib": 1048577},
        {"passes": 1000},
        {"lanes": 1000},
        {"salt": "00"},
        {"version": 2},
        {"kdf": "scrypt"},
        {"salt": "not hex"},
        {"memory_kib": "much"},
        {"memory_kib": None},
    ],
)
def test_weakened_parameters_are_refused_when_read(state_dir: Path, change: dict[str, object]) -> None:
    """Below the floor, above the ceiling, or junk: nothing is derived."""
    path = state_dir / "passphrase.json"
    value = {"version": 1, "kdf": "argon2id", "memory_kib": 19456, "passes": 2, "lanes": 1, "salt": "ab" * 16}
    write_private(path, json.dumps(value).encode())
    assert 32 == len(passphrase(state_dir).load())
    write_private(path, json.dumps(value | change).encode(), replace=True)

    with pytest.raises(Damaged, match=str(path)):
        passphrase(state_dir).load()


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff"])
def test_a_parameter_file_of_junk_is_refused(state_dir: Path, content: bytes) -> None:
    """Named, not a crash."""
    write_private(state_dir / "passphrase.json", content)

    with pytest.raises(StoreError, match=r"passphrase\.json"):
        passphrase(state_dir).load()


def test_a_staged_key_waits_beside_the_one_in_use(state_dir: Path) -> None:
    """`candidates` has both, `promote` swaps them, a second `stage` replaces only what waits."""
    source = Source("file:k", state_dir)
    key = source.create()
    source.stage()
    staged = source.stage()

    assert [(key, False), (staged, True)] == list(source.candidates())
    assert key == source.load()
    source.promote()
    source.promote()
    assert [(staged, False)] == list(source.candidates())
    assert ["k"] == [path.name for path in state_dir.iterdir()]


def test_a_staged_passphrase_is_asked_for_once(state_dir: Path) -> None:
    """One answer is tried with both sets of parameters."""
    passphrase(state_dir, "old").create()
    staged = passphrase(state_dir, "new").stage()
    asked: list[str] = []

    def prompt(question: str) -> str:
        asked.append(question)
        return "new"

    found = list(Source("passphrase", state_dir, state_dir, {}, prompt).candidates())
    assert (staged, True) == found[1]
    assert staged != found[0][0]
    assert 1 == len(asked)


def test_a_key_that_others_hold_cannot_be_changed(state_dir: Path) -> None:
    """bearerd does not write to environments, credentials or commands."""
    for spec in ("env:K", "credential:k", "command:x"):
        with pytest.raises(KeyUnavailable, match="name another source"):
            Source(spec, state_dir).stage()
        assert Source(spec, state_dir).place is None
        Source(spec, state_dir).promote()
