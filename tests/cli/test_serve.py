"""`bearerd serve`: what it says, its signals, its surroundings."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil
import pytest

from proxy.cli.exits import Stop
from proxy.cli.serve import console_token
from tests.cli.support import Person, invoke
from tests.product import LOOP, ROOT, START, surroundings


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_ends_with_0(number: signal.Signals, customer: Person) -> None:
    """Addresses, console and what is to do stand on stderr, nothing on stdout; no socket is left."""
    server = customer.serve()

    server.until("To do: bearerd login questrade")
    assert "serves http://127.0.0.1:" in server.err
    assert "Console: http://127.0.0.1:" in server.err
    assert 0 == server.stop(number)
    assert "" == server.out
    assert not (customer.home / "state/admin.sock").exists()


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.soak)])
def test_a_second_interrupt_ends_at_once(customer: Person, workers: int) -> None:
    """Also while a stop waits for load balancers, and with all processes."""
    customer.config.write_text(f"{customer.config.read_text()}\nshutdown: {{drain_delay: 60}}\nworkers: {workers}\n")
    server = customer.serve()
    family = psutil.Process(server.pid).children()
    server.send_signal(signal.SIGINT)
    end = time.monotonic() + START
    while not customer.run("status", "--json").document["draining"]:
        assert time.monotonic() < end
    assert None is server.code

    assert 128 + signal.SIGINT == server.stop(signal.SIGINT)
    assert [] == psutil.wait_procs(family, timeout=5)[1]


def test_signals_during_the_start_are_heard(customer: Person) -> None:
    """While the master key is fetched, SIGHUP does not kill and SIGTERM is a stop like any other."""
    begun = customer.home / "begun"
    script = customer.home / "key.sh"
    script.write_text(f"touch {begun}\nsleep 5\n")
    server = customer.start("serve", BEARERD_KEY_SOURCE=f"command:sh {script}")
    end = time.monotonic() + START
    while not begun.exists():
        assert time.monotonic() < end, server.output
        time.sleep(0.01)
    server.send_signal(signal.SIGHUP)
    time.sleep(0.2)

    assert None is server.code
    assert 0 == server.stop()


def test_sighup_reloads_or_says_why_not(customer: Person) -> None:
    """A good change counts; a mistake is logged and the old configuration stays."""
    server = customer.serve("--log-format", "console")
    text = customer.config.read_text()
    customer.config.write_text(text.replace("[read_acc, read_md]", "[read_md]"))
    server.send_signal(signal.SIGHUP)
    server.until("configuration reloaded")
    customer.config.write_text(text.replace("environment: simulator", "environment: moon"))
    server.send_signal(signal.SIGHUP)
    server.until("the configuration was not loaded")

    assert ["read_md"] == customer.run("status", "--json").document["mounts"][0]["scopes"]


def test_flags_win_over_the_environment(customer: Person) -> None:
    """And so on down to the file: --port 0 beats a variable that could not be listened on."""
    server = customer.serve("--port", "0", BEARERD_LISTEN="192.0.2.1:1", BEARERD_PLAINTEXT="accepted")

    assert "serves http://127.0.0.1:" in server.err


def test_two_flags_for_one_thing_are_a_usage_error() -> None:
    """--listen and --port."""
    assert 2 == invoke("serve", "--listen", "127.0.0.1:1", "--port", "2").exit_code


def test_a_store_in_use_ends_in_5(customer: Person) -> None:
    """The second server names the first."""
    first = customer.serve()
    done = customer.run("serve")

    assert 5 == done.code
    assert f"process {first.pid}" in done.err


def test_the_console_s_token_is_shown_to_who_asks_for_it(customer: Person) -> None:
    """`status` names the console without it; `status --console` prints the address that opens the page."""
    customer.serve("--console", "127.0.0.1:0")
    plain = customer.run("status").out + customer.run("status", "--json").out
    url = customer.run("status", "--console").out.strip()

    assert "token=" not in plain
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    with browser.open(url, timeout=5) as page:
        assert 200 == page.status


def test_a_port_in_use_is_told(customer: Person) -> None:
    """A failure that names the address."""
    from tests.cli.test_ports import listener

    with listener() as taken:
        number = taken.getsockname()[1]
        done = customer.run("serve", "--port", str(number))

    assert 1 == done.code
    assert f"cannot listen on 127.0.0.1:{number}" in done.err


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_core_dump_can_hold_a_token(customer: Person) -> None:
    """The limit is 0, soft and hard."""
    server = customer.serve()
    limits = Path(f"/proc/{server.pid}/limits").read_text()

    assert ["0", "0"] == next(line for line in limits.splitlines() if "core file" in line).split()[4:6]
    if os.geteuid() != 0:
        assert 0 == Path(f"/proc/{server.pid}/environ").stat().st_uid


HARDENED = """
import ctypes, os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (100, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
from proxy.hardening import FILES, harden
harden()
dumpable = ctypes.CDLL(None).prctl(3, 0, 0, 0, 0) if sys.platform == "linux" else 0  # PR_GET_DUMPABLE
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
print(dumpable, *resource.getrlimit(resource.RLIMIT_CORE), oct(os.umask(0)), soft == min(FILES, hard) or hard < 0)
"""


def test_what_serves_is_hardened() -> None:
    """No dump, no debugger of others, files for its own user, and as many open files as it may have."""
    done = subprocess.run(
        [sys.executable, "-c", HARDENED], cwd=ROOT, capture_output=True, text=True, timeout=20, check=False
    )

    assert ["0", "0", "0", "0o77", "True"] == done.stdout.split(), done.stderr


def test_a_console_token_from_a_file(tmp_path: Path) -> None:
    """It is long enough, private, and its name leaves the environment."""
    file = tmp_path / "token"
    file.write_text("A" * 32 + "\n")
    file.chmod(0o600)
    environ = {"BEARERD_CONSOLE_TOKEN_FILE": str(file)}

    assert "A" * 32 == console_token(environ)
    assert {} == environ
    assert None is console_token(environ)
    file.write_text("short")
    with pytest.raises(Stop, match="at least 20"):
        console_token({"BEARERD_CONSOLE_TOKEN_FILE": str(file)})


# `bearerd serve` as on a system for which there is no uvloop.
WITHOUT_UVLOOP = """
import sys
sys.modules["uvloop"] = None
from proxy.cli import main
sys.argv = ["bearerd", "serve", "-c", sys.argv[1]]
main()
"""


def test_a_loop_that_is_not_installed_is_a_mistake_of_the_configuration(customer: Person) -> None:
    """Its place in the file, and what to write."""
    customer.config.write_text(f"{customer.config.read_text()}\nengine: {{loop: uvloop}}\n")
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_UVLOOP, str(customer.config)],
        env={name: value for name, value in surroundings(customer.home).items() if name != LOOP},  # the file is to say
        capture_output=True,
        text=True,
        timeout=START,
        check=False,
    )

    assert 3 == done.returncode, done.stderr
    assert "engine.loop: uvloop is not installed here, write auto, or install uvloop" in done.stderr
