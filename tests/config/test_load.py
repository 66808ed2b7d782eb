from pathlib import Path

import pytest

from proxy.config import ConfigInvalid, find, load, render_problems
from proxy.config.load import default_places
from tests.config.conftest import LoadText

ROOT = Path(__file__).resolve().parents[2]
ENVIRON = {"HOME": "/home/somebody"}

TWELVE = """\
version: 0
lisen: 127.0.0.1:8080
console: 10.1.2.3:8081
store: postgresql://u:canary@db/x
mounts:
  questrade:
    broker: questrade
    enviroment: live
    scopes: [read_acc, read_md]
    port: 70000
  My_Mount: {broker: questrade, environment: live, scopes: read_acc}
  questrade: {}
clients:
  notebook: {questrade: [trade]}
limits: {body_bytes: "12"}
log: {level: inf}
"""
TWELVE_EXPECTED = """\
config.yaml:1:10: error: version: is not 1, write 1
config.yaml:2:1: error: lisen: unknown key 'lisen', did you mean 'listen'?
config.yaml:3:10: error: console: 10.1.2.3:8081 can be reached from other machines without TLS, \
add `tls:`, listen on 127.0.0.1, or write `plaintext: accepted` if that network is private
config.yaml:4:8: error: store: may hold no password, \
put it into a file (mode 0600) and name that in store_password_file
config.yaml:8:5: error: mounts.questrade.enviroment: unknown key 'enviroment', did you mean 'environment'?
config.yaml:10:11: error: mounts.questrade.port: is too large, write 65535 or less
config.yaml:11:3: error: mounts.My_Mount: is no name: a-z, 0-9 and -, at most 63, and no - in front, write 'my-mount'
config.yaml:11:60: error: mounts.My_Mount.scopes: must be a list, not text, write it in square brackets: [a, b]
config.yaml:12:3: error: key 'questrade' is given twice (first on line 6), remove one of the two
config.yaml:14:26: error: clients.notebook.questrade.0: scope 'trade' is not among mounts.questrade.scopes, \
add it there or remove it here
config.yaml:15:22: error: limits.body_bytes: must be a whole number, not text, write decimal digits without quotes
config.yaml:16:14: error: log.level: is not one of debug, info, warning, error, did you mean 'info'?"""


def test_twelve_mistakes_are_reported_in_one_run(load_text: LoadText) -> None:
    """Each with line, column and the fix, sorted by line."""
    found = load_text(TWELVE)
    assert TWELVE_EXPECTED.split("\n") == [str(problem) for problem in found.problems]
    assert None is found.config
    with pytest.raises(ConfigInvalid) as caught:
        found.require()
    assert found.problems == caught.value.problems
    assert "canary" not in render_problems(found.problems, found.document) + str(caught.value)


def test_the_rest_can_still_be_checked(load_text: LoadText) -> None:
    """The draft leaves out what is wrong and reads misspelt keys as they were meant."""
    draft = load_text(TWELVE).draft
    assert draft is not None
    assert ["questrade"] == list(draft.mounts)
    assert ("live", None) == (draft.mounts["questrade"].environment, draft.mounts["questrade"].port)
    assert (1, "info") == (draft.version, draft.log.level)


def test_a_draft_survives_a_broken_list(load_text: LoadText) -> None:
    """One bad item, a missing key and a section of the wrong type cost their own part only."""
    text = "allowed_hosts: ['a:1', b]\nmounts: {a: {broker: x, environment: y}, b: 3}\nlog: 3\ngrants: {}\n"
    draft = load_text(text).draft
    assert draft is not None
    assert ((), {}, "info") == (draft.allowed_hosts, draft.mounts, draft.log.level)


def test_the_example_is_a_good_configuration() -> None:
    """config.example.yaml loads as it is, with its values equal to the defaults but for mounts and clients."""
    found = load(ROOT / "config.example.yaml", ENVIRON).require().effective()
    empty = {"HOME": "/home/somebody"}
    defaults = load(Path("/dev/null"), empty).require().effective()
    assert {"mounts", "clients"} == {key for key in found if found[key] != defaults[key]}


def test_files_that_cannot_be_read_are_explained(state_dir: Path) -> None:
    """Missing, a directory, not UTF-8, too large: one problem each."""
    path = state_dir / "config.yaml"

    def found() -> list[str]:
        return [str(problem) for problem in load(path, ENVIRON).problems]

    assert [f"{path}: error: cannot be read: no such file or directory, run: bearerd init"] == found()
    path.write_bytes(b"version: 1\nlog: {level: \xff}\n")
    assert [f"{path}:2:14: error: the file is not UTF-8, save it as UTF-8"] == found()
    path.write_bytes(b"# " + b"x" * (1 << 20))
    assert [f"{path}: error: the file is larger than 1048576 bytes, name the right one with --config"] == found()
    path.unlink()
    path.mkdir()
    assert [f"{path}: error: cannot be read: is a directory, run: bearerd init"] == found()


def test_a_byte_order_mark_does_no_harm(state_dir: Path) -> None:
    """Some editors write one."""
    path = state_dir / "config.yaml"
    path.write_bytes(b"\xef\xbb\xbfversion: 1\n")
    assert () == load(path, ENVIRON).problems


def test_a_syntax_error_is_not_followed_by_guesses(load_text: LoadText) -> None:
    """Where nothing could be read, nothing is said about missing parts, but the environment is still checked."""
    found = load_text("mounts: [\n", BEARERD_NOTHING_LIKE_IT="x")
    assert (2, None) == (len(found.problems), found.draft)


def test_the_file_is_looked_for_in_order(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--config, $BEARERD_CONFIG, ./config.yaml, the user's, the system's; none is a problem that names the places."""
    monkeypatch.chdir(state_dir)
    environ = {"XDG_CONFIG_HOME": str(state_dir / "xdg")}
    with pytest.raises(
        ConfigInvalid, match=r"none of config\.yaml, .*xdg/bearerd/config\.yaml, /etc/.* run: bearerd init"
    ):
        find(None, environ)
    users = state_dir / "xdg/bearerd/config.yaml"
    users.parent.mkdir(parents=True)
    users.touch()
    assert users == find(None, environ)
    Path("config.yaml").touch()
    assert Path("config.yaml") == find(None, environ)
    assert Path("/x.yaml") == find(None, environ | {"BEARERD_CONFIG": "/x.yaml"})
    assert Path("/y.yaml") == find(Path("/y.yaml"), environ | {"BEARERD_CONFIG": "/x.yaml"})


@pytest.mark.parametrize(
    ("environ", "store", "key"),
    [
        ({}, "/home/me/.local/state/bearerd/store.db", "/home/me/.config/bearerd/master.key"),
        ({"XDG_STATE_HOME": "/s", "XDG_CONFIG_HOME": "/c"}, "/s/bearerd/store.db", "/c/bearerd/master.key"),
        ({"STATE_DIRECTORY": "/var/lib/b:/x"}, "/var/lib/b/store.db", "/home/me/.config/bearerd/master.key"),
    ],
)
def test_default_places_follow_xdg_and_systemd(environ: dict[str, str], store: str, key: str) -> None:
    """Without them they lie below the home directory."""
    state = store.removesuffix("/store.db")
    places = {"store": f"sqlite:{store}", "state": state, "key": f"file:{key}"}
    assert places == default_places({"HOME": "/home/me"} | environ)


def test_default_places_on_macos(state_dir: Path) -> None:
    """Where programs keep such things there, unless the directories of other systems are in use already."""
    environ = {"HOME": str(state_dir)}
    usual = state_dir / "Library/Application Support/bearerd"
    expected = {"store": f"sqlite:{usual}/store.db", "state": str(usual), "key": f"file:{usual}/master.key"}
    assert expected == default_places(environ, "darwin")
    (state_dir / ".config/bearerd").mkdir(parents=True)
    assert f"file:{state_dir}/.config/bearerd/master.key" == default_places(environ, "darwin")["key"]
    assert "/x/bearerd" == default_places(environ | {"XDG_STATE_HOME": "/x"}, "darwin")["state"]


def test_a_secret_file_is_left_alone(load_text: LoadText, state_dir: Path) -> None:
    """Its path starts at the configuration; who needs the secret reads it."""
    text = "mounts: {q: {broker: b, environment: live, scopes: []}}\ngrants: {q: {client_secret_file: app.secret}}\n"
    config = load_text(text).require()
    assert state_dir / "app.secret" == config.grants["q"].client_secret_file
    assert str(state_dir / "app.secret") == config.effective()["grants"]["q"]["client_secret_file"]


def test_environment_and_flags_reach_the_sections(load_text: LoadText) -> None:
    """Overrides win over variables, variables over the file; a wrong one is named by its source."""
    found = load_text("log: {level: info}\n", {"listen": "127.0.0.1:0"}, BEARERD_LOG__LEVEL="debug").require()
    assert (["127.0.0.1:0"], "debug") == ([str(each) for each in found.listen], found.log.level)
    wrong = load_text("", {"log.level": "loud"}, BEARERD_LIMITS__BODY_BYTES="0.5").problems
    number = "limits.body_bytes: must be a whole number, not a number, write decimal digits without quotes"
    assert [
        f"BEARERD_LIMITS__BODY_BYTES: error: {number}",
        "command line: error: log.level: is not one of debug, info, warning, error, write one of them",
    ] == [str(problem) for problem in wrong]
