"""`serve` with several workers: what the process that a person has started gives to the one that keeps custody."""

from pathlib import Path

from proxy import __version__
from proxy.cli.invocation import Invocation
from proxy.cli.supervise import custody_command


def test_custody_is_started_with_the_same_options() -> None:
    """Flags and overrides; nothing of the environment, which it has anyway."""
    invocation = Invocation(quiet=True, environ={"BEARERD_KEY": "canary"})
    flags = {"listen": "127.0.0.1:0", "log.level": "debug"}
    command = custody_command(invocation, Path("/etc/bearerd/config.yaml"), flags)
    assert command[4:] == [
        "serve", "-c", "/etc/bearerd/config.yaml", "--color", "auto", "-q",
        "--listen", "127.0.0.1:0", "--log-level", "debug", "--supervisor", __version__, "--crew",
    ]  # fmt: skip
