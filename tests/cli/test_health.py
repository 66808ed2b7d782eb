"""`bearerd healthcheck` and `bearerd wait`."""

import pytest

from proxy.cli.ports import reserve
from proxy.clock import SystemClock
from tests.authority import Authority
from tests.cli.support import Person, invoke


def test_nobody_there(person: Person) -> None:
    """`unreachable` and 1 for the one, 6 with the next command for the other."""
    path = str(person.write_config(**{"console: 127.0.0.1:0": "console: 127.0.0.1:1"}))

    check = invoke("healthcheck", "-c", path)
    assert (1, "unreachable\n") == (check.exit_code, check.stdout)
    wait = invoke("wait", "--timeout", "0.2", "-c", path)
    assert 6 == wait.exit_code
    assert "bearerd serve" in wait.stderr


def test_a_server_with_a_fixed_console(customer: Person) -> None:
    """The console is asked; before a login the server lives but is not ready."""
    (port,), held = reserve(1)
    with held:
        text = customer.config.read_text()
        customer.config.write_text(text.replace("console: 127.0.0.1:0", f"console: 127.0.0.1:{port}"))
        customer.start("serve")

        assert 0 == customer.run("wait").code
        assert (0, "ok\n") == ((done := customer.run("healthcheck")).code, done.out)
        assert {"schema": 1, "live": True} == customer.run("healthcheck", "--json").document
        waited = customer.run("wait", "--ready", "--timeout", "0.3")
        assert 4 == waited.code
        assert "To fix: bearerd status" in waited.err


def test_a_server_without_a_console(customer: Person, new_token: str) -> None:
    """The admin socket is asked instead."""
    text = customer.config.read_text()
    customer.config.write_text(text.replace("console: 127.0.0.1:0", "console: off"))
    customer.run("login", "questrade", "--token-stdin", stdin=new_token)
    customer.start("serve")

    assert "ok" == customer.run("wait", "--ready", "--json").document["ready"]
    assert 0 == customer.run("healthcheck").code


@pytest.mark.timeout(20)
@pytest.mark.parametrize("seconds", ["nan", "-1", "soon"])
def test_a_time_that_is_none_is_a_usage_error(person: Person, seconds: str) -> None:
    """It is not waited for, least of all for ever."""
    path = str(person.write_config(**{"console: 127.0.0.1:0": "console: 127.0.0.1:1"}))

    assert 2 == invoke("wait", "--timeout", seconds, "-c", path).exit_code


def test_a_server_that_speaks_tls(customer: Person) -> None:
    """Health is asked for over the admin socket, programs are led to https, whatever the certificate is for."""
    ours = Authority(customer.home / "tls", "ours", now=SystemClock().now().wall)
    ours.issue("server", "bearerd.internal")
    tls = "tls: {certificate_file: tls/server.crt, key_file: tls/server.key}\n"
    text = customer.config.read_text()
    for old, new in (("clients:\n", f"{tls}clients:\n"), ("console: 127.0.0.1:0", "console: 0.0.0.0:1")):
        text = text.replace(old, new)
    (port,), held = reserve(1)
    with held:
        customer.config.write_text(text.replace("0.0.0.0:1", f"0.0.0.0:{port}"))
        server = customer.serve()
    assert f"Console: https://bearerd.internal:{port}/?token=" in server.output

    assert (0, "ok\n") == ((done := customer.run("healthcheck")).code, done.out)
    done = customer.run("run", "--", "printenv", "BEARERD_URL", "QUESTRADE_API_SERVER")
    url, api_server = done.out.split()
    assert url.startswith("https://bearerd.internal:")
    assert f"{url}/questrade/" == api_server
