"""The `alerts:` of a configuration: what can be used, and every mistake with its place and its fix."""

from pathlib import Path
from typing import Any

import pytest

from proxy.config import load
from proxy.hooks import EVENTS, MOST, Hook, Program, Webhook, key_of, read_hooks
from tests.alerts.receivers import SECRET

URL = "https://alerts.example.com/in/T0/B0/canary-in-the-path"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for name, text in (("secret", SECRET), ("url", URL + "\n"), ("page", "#!/bin/sh\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o700 if name == "page" else 0o600)
    (tmp_path / "open").write_text(SECRET)
    (tmp_path / "open").chmod(0o644)
    (tmp_path / "wide").write_text("#!/bin/sh\n")
    (tmp_path / "wide").chmod(0o777)
    return tmp_path


def read(directory: Path, text: str, top: str = "", **environ: str) -> tuple[dict[str, Hook], list[str]]:
    """The hooks, and all problems, those of the models too, as a person sees them."""
    file = directory / "config.yaml"
    file.write_text(f"clients: none\n{top}\nalerts:\n{text}\n")
    loaded = load(file, {"HOME": str(directory), "PATH": "/usr/bin:/bin"} | environ)
    assert loaded.draft is not None
    hooks, problems = read_hooks(loaded.draft)
    return hooks, [problem.text for problem in (*loaded.problems, *problems)]


def test_a_webhook_with_everything(directory: Path) -> None:
    """What is not said has a default; nothing of the address but its origin is ever shown."""
    hooks, problems = read(directory, f"  ops: {{url: '{URL}', secret_file: secret}}")
    way = hooks["ops"].way
    assert [] == problems
    assert isinstance(way, Webhook)
    assert (URL, SECRET, "alerts.example.com") == (way.url.reveal(), way.key.reveal(), way.host)
    assert ("webhook", "https://alerts.example.com", frozenset(EVENTS), 0, 10) == (
        hooks["ops"].kind, hooks["ops"].place, hooks["ops"].events, hooks["ops"].repeat, hooks["ops"].timeout,
    )  # fmt: skip
    assert "canary" not in repr(hooks)
    assert SECRET not in repr(hooks)


def test_a_host_is_written_small_and_a_path_as_it_is(directory: Path) -> None:
    """So that the name which may lead to a private address is the one that is looked up."""
    hooks, problems = read(directory, "  x: {url: 'https://Alerts.Internal:8443/Path%2f?Q=R', secret_file: secret}")
    way = hooks["x"].way
    assert [] == problems
    assert isinstance(way, Webhook)
    assert ("https://alerts.internal:8443/Path%2f?Q=R", "https://alerts.internal:8443", "alerts.internal") == (
        way.url.reveal(), way.origin, way.host,
    )  # fmt: skip


def test_an_address_may_be_in_a_file_and_the_way_out_is_the_configured_one(directory: Path) -> None:
    """A proxy is asked for hosts elsewhere, and not for this machine."""
    top = "egress_proxy: http://proxy.internal:3128"
    text = "  a: {url_file: url, secret_file: secret, events: [halted], repeat: 3600, timeout: 5}\n"
    text += "  b: {url: 'http://[::1]:9/x', secret_file: secret}"
    hooks, problems = read(directory, text, top)
    a, b = (hooks[name].way for name in "ab")
    assert [] == problems
    assert isinstance(a, Webhook)
    assert isinstance(b, Webhook)
    assert ("http://proxy.internal:3128", None, URL) == (a.egress, b.egress, a.url.reveal())
    assert (frozenset({"halted"}), 3600, 5) == (hooks["a"].events, hooks["a"].repeat, hooks["a"].timeout)


def test_the_environment_may_hold_the_secrets(directory: Path) -> None:
    """As with every other secret."""
    environ = {"BEARERD_ALERTS__OPS__URL": URL, "BEARERD_ALERTS__OPS__SECRET": SECRET}
    hooks, problems = read(directory, "  ops: {events: [halted]}", **environ)
    assert ([], ["ops"]) == (problems, list(hooks))


def test_a_command(directory: Path) -> None:
    """With a slash it starts at the configuration's directory, without one it is looked for in the PATH."""
    hooks, problems = read(directory, "  a: {command: [./page, --team, 'a b']}\n  b: {command: [sh]}")
    a, b = (hooks[name].way for name in "ab")
    assert [] == problems
    assert Program(directory / "page", ("--team", "a b"), directory) == a
    assert isinstance(b, Program)
    assert b.path.is_absolute()
    assert ("command", str(directory / "page")) == (hooks["a"].kind, hooks["a"].place)


MISTAKES: dict[str, tuple[str, str]] = {
    "nothing": ("{events: [halted]}", "alerts.x: says neither whom to post to nor what to run, add url"),
    "both": ("{command: [sh], url: 'https://a/', secret_file: secret}", "alerts.x.command: a hook is a webhook or a"),
    "no secret": ("{url: 'https://a/'}", "alerts.x: has no secret to sign what it posts, add secret_file: PATH, mode"),
    "short secret": ("{url: 'https://a/', secret: whsec_YWJj}", "alerts.x.secret: is no signing secret, write whsec_"),
    "bad secret": ("{url: 'https://a/', secret: '???'}", "alerts.x.secret: is no signing secret, write whsec_"),
    "open secret": ("{url: 'https://a/', secret_file: open}", "alerts.x.secret_file: the file cannot be used: "),
    "no file": ("{url: 'https://a/', secret_file: none}", "alerts.x.secret_file: the file cannot be read, put the"),
    "two secrets": (
        f"{{url: 'https://a/', secret: {SECRET}, secret_file: secret}}",
        "alerts.x.secret_file: secret is given too, remove one of the two",
    ),
    "http": ("{url: 'http://a/', secret_file: secret}", "alerts.x.url: is http, and leads beyond this machine, write"),
    "http elsewhere": ("{url: 'http://localhost.evil/', secret_file: secret}", "alerts.x.url: is http, and leads"),
    "user": ("{url: 'https://u:p@a/', secret_file: secret}", "alerts.x.url: is no address to post to, write https://"),
    "script": (
        "{url: 'https://ä.example/', secret_file: secret}",
        "alerts.x.url: is no address to post to, write http",
    ),
    "fragment": ("{url: 'https://a/#x', secret_file: secret}", "alerts.x.url: is no address to post to, write https"),
    "space": ("{url: 'https://a/ b', secret_file: secret}", "alerts.x.url: is no address to post to, write https://"),
    "scheme": ("{url: 'ftp://a/', secret_file: secret}", "alerts.x.url: is no address to post to, write https://HOST"),
    "port": ("{url: 'https://a:99999/', secret_file: secret}", "alerts.x.url: is no address to post to, write https"),
    "tls over unix": (
        "{url: 'https://localhost/', unix_socket: /run/x, secret_file: secret}",
        "alerts.x.url: a Unix socket has no TLS, write http://localhost/PATH",
    ),
    "ca": ("{url: 'https://a/', secret_file: secret, ca_file: none}", "alerts.x.ca_file: there is no such file, name"),
    "no program": ("{command: [no-such-program-here]}", "alerts.x.command: there is no such program, name one that"),
    "not to run": ("{command: [./secret]}", "alerts.x.command: there is no such program, name one that is there"),
    "anybody's": ("{command: [./wide]}", "alerts.x.command: any user may change that program, chmod o-w "),
    "no words": ("{command: []}", "alerts.x.command: is no command, write a list, the program first: "),
    "text": ("{command: 'page me'}", "alerts.x.command: must be a list, not text, write it in square brackets: [a, b]"),
    "foreign key": ("{command: [sh], ca_file: secret}", "alerts.x.ca_file: belongs to a webhook, remove it"),
    "often": ("{command: [sh], repeat: 59}", "alerts.x.repeat: is too often, write 0, or 60 or more"),
    "unknown event": (
        "{command: [sh], events: [login]}",
        "alerts.x.events.0: is not one of login-needed, login-ending",
    ),
    "no event": (
        "{command: [sh], events: []}",
        "alerts.x.events: names no event, name some, or remove the key for all",
    ),
    "twice": ("{command: [sh], events: [halted, halted]}", "alerts.x.events: holds 'halted' twice, remove one of the"),
    "unknown key": ("{command: [sh], event: [halted]}", "alerts.x.event: unknown key 'event', did you mean 'events'?"),
    "long": ("{command: [sh], timeout: 61}", "alerts.x.timeout: is too large, write 60 or less"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_mistake_is_told_once_with_its_fix(mistake: str, directory: Path) -> None:
    """One line, which names the key."""
    text, expected = MISTAKES[mistake]
    _, problems = read(directory, f"  x: {text}")
    assert 1 == len(problems), problems
    assert problems[0].startswith(expected), problems[0]


def test_plain_http_can_be_accepted(directory: Path) -> None:
    """In a private network; over a Unix socket and on this machine nobody has to."""
    text = "  a: {url: 'http://alerts.internal/', secret_file: secret, plaintext: accepted}\n"
    text += "  b: {url: 'http://localhost/x', secret_file: secret, unix_socket: run/in.sock}\n"
    hooks, problems = read(directory, text)
    assert ([], f"unix:{directory}/run/in.sock") == (problems, hooks["b"].place)


def test_there_are_at_most_so_many(directory: Path) -> None:
    """The limit passes, one more does not."""
    lines = [f"  h{number}: {{command: [sh]}}" for number in range(MOST + 1)]
    assert [] == read(directory, "\n".join(lines[:-1]))[1]
    assert ["alerts: has more than 16 hooks, remove some"] == read(directory, "\n".join(lines))[1]


@pytest.mark.parametrize(
    ("text", "size"),
    [(SECRET, 24), (SECRET.removeprefix("whsec_"), 24), ("whsec_" + "A" * 88, None), ("whsec_", None), ("ä", None)],
    ids=["prefixed", "bare", "long", "empty", "odd"],
)
def test_a_signing_secret_has_24_to_64_bytes(text: str, size: int | None) -> None:
    """With the prefix of the standard or without."""
    found: Any = key_of(text)
    assert size == (None if found is None else len(found))


def test_no_excerpt_shows_an_address(directory: Path) -> None:
    """Not of the line with the mistake itself, nor of one with another mistake beside it."""
    from proxy.config.problem import render_problems

    for text in (
        "{url: 'https://hooks.example.com/canary/x y', secret_file: secret}",
        "{url: 'https://hooks.example.com/canary/xy', secret_file: secret, evnts: [halted]}",
        '{"url": "https://hooks.example.com/canary/xy", "secret": "canary"}',
    ):
        file = directory / "config.yaml"
        file.write_text(f"clients: none\nalerts:\n  x: {text}\n")
        loaded = load(file, {"HOME": str(directory), "PATH": "/usr/bin:/bin"})
        assert loaded.draft is not None
        problems = [*loaded.problems, *read_hooks(loaded.draft)[1]]
        assert problems
        assert "canary" not in render_problems(problems, loaded.document)
