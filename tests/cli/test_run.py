"""`bearerd run`: a program with a key that ends with it, in front of a real server."""

import json
import os
import shlex
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from proxy.cli.run import _without_ours
from proxy.settings import Settings
from tests.cli.support import Person, invoke
from tests.product import LOOP, Program, send, surroundings

SHOW = (sys.executable, "-c", "import json, os; print(json.dumps(dict(os.environ)))")
# Shows where it is to call, and stays until it is told to end.
WAIT = "import json, os, sys, time; print(json.dumps(dict(os.environ)), flush=True); time.sleep(60)"
STEP = 0.05


@pytest.fixture
def served(customer: Person) -> Person:
    """A person whose server runs."""
    customer.serve()
    return customer


def call(variables: dict[str, str]) -> int:
    """The status of a call as a program makes it: 503 needs-login is as far as it gets without a token."""
    url, key = variables["BEARERD_URL"], variables["BEARERD_KEY"]
    return send("GET", f"{url}/questrade/v1/markets/quotes/8049", Authorization=f"Bearer {key}").status


def until(variables: dict[str, str], status: int) -> None:
    """Wait until a call is answered like this."""
    end = time.monotonic() + 10
    while (found := call(variables)) != status:
        assert time.monotonic() < end, found
        time.sleep(STEP)


def started(person: Person, **environ: str) -> tuple[Program, dict[str, str]]:
    """A program that stays, and its variables."""
    program = person.start("run", "--", sys.executable, "-c", WAIT, **environ)
    return program, program.document()


def test_a_program_gets_the_variables_and_no_real_credential(served: Person) -> None:
    """Nothing of the person's own that could let it in, and nothing that configures a server; the rest stays."""
    real = {
        "APCA_API_OAUTH_TOKEN": "real",
        "TRADIER_ACCESS_TOKEN": "real",
        "QUESTRADE_ACCESS_TOKEN": "real",
        "BEARERD_PASSPHRASE": "real",
        "BEARERD_KEY": "real",
    }
    done = served.run("run", "--", *SHOW, **real, OTHER="mine")

    found = json.loads(done.out)
    assert (0, "") == (done.code, done.err)
    assert "real" not in found.values()
    assert "mine" == found["OTHER"]
    assert found["BEARERD_KEY"].startswith("brd_")
    assert found["BEARERD_KEY"] == found["QUESTRADE_ACCESS_TOKEN"]
    assert f"{found['BEARERD_URL']}/questrade/" == found["QUESTRADE_API_SERVER"]


def test_a_bearerd_within_finds_the_same_server(customer: Person) -> None:
    """Wherever it is called from: the configuration in use is named, and overrides that hold no secret stay."""
    overrides = {
        "BEARERD_STORE": f"sqlite:{customer.home}/elsewhere/store.db",
        "BEARERD_KEY_SOURCE": f"file:{customer.home}/keys/master.key",
        "BEARERD_GRANTS__QUESTRADE__CLIENT_SECRET": "real",
    }
    customer.serve(**overrides)
    command = shlex.join([sys.executable, "-P", "-m", "proxy", "status", "--json"])
    within = f"cd / && {command}; env | grep ^BEARERD_ | cut -d= -f1 | sort"
    done = customer.run("run", "-c", "config.yaml", "--", "sh", "-c", within, **overrides)

    status, *names = done.out.splitlines()
    assert f"sqlite:{customer.home}/elsewhere/store.db" == json.loads(status)["store"]
    loop = [LOOP] if LOOP in surroundings(customer.home) else []  # the tests run on another than the usual one
    assert ["BEARERD_CONFIG", *loop, "BEARERD_KEY", "BEARERD_STORE", "BEARERD_URL"] == names


def test_the_master_key_stays_here(settings: Settings) -> None:
    """Whatever variable it is read from, or the name of its file."""
    config = settings.config.model_copy(update={"key": "env:MINE"})
    environ = {"MINE": "real", "MINE_FILE": "real", "BEARERD_PASSPHRASE": "real", "MINE_TOO": "other", "PATH": "/bin"}

    assert {"MINE_TOO": "other", "PATH": "/bin"} == _without_ours(environ, replace(settings, config=config))


def test_a_program_is_led_only_to_what_its_client_may_reach(served: Person) -> None:
    """Of two mounts of a broker the one with rights, though the other comes first."""
    text = served.config.read_text()
    second = text.partition("mounts:\n  questrade:\n")[2].partition("clients:")[0]
    served.config.write_text(
        text.replace("clients:\n", f"  second:\n{second}clients:\n  narrow: {{second: [read_md]}}\n")
    )
    assert 0 == served.run("reload").code

    done = served.run("run", "--client", "narrow", "--", "sh", "-c", "echo $QUESTRADE_API_SERVER")
    assert (0, True) == (done.code, done.out.endswith("/second/\n")), done.output


def test_the_key_ends_with_the_program(served: Person) -> None:
    """While it runs the key has the client's rights; once it has ended the key is unknown. It was never stored."""
    program, variables = started(served)
    assert 503 == call(variables)
    assert 2 == served.run("clients", "list", "--json").document["clients"][0]["keys"]

    assert 128 + signal.SIGTERM == program.stop()

    until(variables, 401)
    assert 1 == served.run("clients", "list", "--json").document["clients"][0]["keys"]


def test_the_key_ends_with_a_killed_run(served: Person) -> None:
    """The connection to the server is closed by the system: the program lives on, its key does not."""
    program, variables = started(served)
    (child,) = children(program.pid)
    try:
        program.kill()
        until(variables, 401)
        assert Path(f"/proc/{child}").exists()
    finally:
        os.kill(child, signal.SIGKILL)


def children(process: int) -> list[int]:
    tasks = Path(f"/proc/{process}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def test_the_key_outlives_a_restart_of_the_server(customer: Person) -> None:
    """A program that runs for weeks need not end because bearerd was updated."""
    server = customer.serve()
    url = urlsplit(customer.run("status", "--json").document["url"])
    text = customer.config.read_text()
    customer.config.write_text(text.replace("listen: 127.0.0.1:0", f"listen: {url.netloc}"))
    assert 0 == server.stop()
    server = customer.serve()
    program, variables = started(customer)
    assert 503 == call(variables)

    assert 0 == server.stop()
    customer.serve()

    until(variables, 503)
    program.stop()


def test_the_exit_code_is_the_program_s(served: Person) -> None:
    """126 and 127 where there is no program to run, with a word on stderr and no traceback."""
    codes = {
        ("sh", "-c", "exit 7"): 7,
        ("sh", "-c", "kill -9 $$"): 137,
        ("no-such-program-anywhere",): 127,
        ("",): 127,
        (str(served.home),): 126,
    }
    for command, code in codes.items():
        done = served.run("run", *command)
        assert code == done.code, command
        assert "Traceback" not in done.err
        assert (code in (126, 127)) == done.err.startswith(f"error: {command[0] or 'CMD'}: ")


def test_options_after_the_program_are_the_program_s(served: Person) -> None:
    """With `--` and without; what stands before it is ours."""
    for separator in ([], ["--"]):
        done = served.run("run", "--client", "notebook", *separator, "echo", "--json", "--", "-q", "--client")
        assert "--json -- -q --client\n" == done.out


def test_standard_input_is_the_program_s(served: Person) -> None:
    """Nothing of it is read by us."""
    assert "a\nb\n" == served.run("run", "--", "cat", stdin="a\nb\n").out


def test_a_client_that_may_reach_nothing_is_told(served: Person) -> None:
    """Unknown, or one of several and not said which: the program is not started."""
    done = served.run("run", "--client", "nobody", "--", "echo", "started")
    assert (1, "") == (done.code, done.out)
    assert "no client 'nobody'" in done.err

    text = served.config.read_text()
    served.config.write_text(text.replace("clients:\n", "clients:\n  empty: {}\n"))
    assert 0 == served.run("reload").code
    done = served.run("run", "--", "echo", "started")
    assert (1, "") == (done.code, done.out)
    assert "several clients" in done.err
    done = served.run("run", "--client", "empty", "--mount", "questrade", "--", "echo", "started")
    assert (1, "") == (done.code, done.out)
    assert "'empty' has no rights on questrade" in done.err


def test_without_a_server_nothing_is_run(customer: Person) -> None:
    """Exit 6, and the command that helps."""
    done = customer.run("run", "--", "echo", "started")

    assert (6, "") == (done.code, done.out)
    assert "bearerd serve" in done.err


def test_without_a_program_the_use_is_wrong(person: Person) -> None:
    """Exit 2; an unknown mount is a failure that names those that there are."""
    path = str(person.write_config())

    assert 2 == invoke("run", "-c", path).exit_code
    result = invoke("run", "-c", path, "--mount", "alpaca", "--", "true")
    assert 1 == result.exit_code
    assert "known: questrade" in result.stderr


def test_an_open_server_needs_no_key(customer: Person) -> None:
    """With `clients: none` the program sends a dummy."""
    text = customer.config.read_text()
    before, _, after = text.partition("clients:\n")
    customer.config.write_text(before + "clients: none\n" + after.partition("\n")[2])
    customer.serve()

    assert "local\n" == customer.run("run", "--", "sh", "-c", "echo $BEARERD_KEY").out
