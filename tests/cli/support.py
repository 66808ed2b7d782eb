"""The command line as a person has it: a home directory of its own, and processes."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from proxy.cli import cli

ROOT = Path(__file__).resolve().parents[2]
ACCOUNT = "26598145"

READING = """\
version: 1
listen: 127.0.0.1:0
console: 127.0.0.1:0
store: sqlite:state/store.db
key: file:keys/master.key
mounts:
  questrade:
    broker: questrade
    environment: {environment}
    scopes: [read_acc, read_md]
clients:
  notebook: {{questrade: [read_md]}}
brokers: {brokers}
"""


@dataclass(frozen=True)
class Done:
    """What a finished command left."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


@dataclass
class Person:
    """Somebody with a home directory, who types commands there. Processes are ended by the fixture."""

    home: Path
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def environ(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        return kept | {"HOME": str(self.home), "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default"}

    @property
    def config(self) -> Path:
        return self.home / "config.yaml"

    def write_config(self, environment: str = "live", brokers: object = None, **changes: str) -> Path:
        """A small configuration in the home directory; `changes` replace text."""
        text = READING.format(environment=environment, brokers=json.dumps(brokers or {}))
        for old, new in changes.items():
            assert old in text
            text = text.replace(old, new)
        self.config.write_text(text)
        return self.config

    def run(self, *arguments: str, stdin: str = "", **environ: str) -> Done:
        """One command in a process of its own, in the home directory, without a terminal."""
        done = subprocess.run(
            [sys.executable, "-m", "proxy", *arguments],
            input=stdin,
            env=self.environ | environ,
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=40,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str, **environ: str) -> subprocess.Popen[str]:
        """A command that goes on running; its stderr goes to `stderr.txt`, its stdout is a pipe."""
        with (self.home / "stderr.txt").open("a") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "proxy", *arguments],
                env=self.environ | environ,
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self.processes.append(process)
        return process

    def serve(self, *arguments: str, **environ: str) -> subprocess.Popen[str]:
        """`bearerd serve`, once it serves."""
        server = self.start("serve", *arguments, **environ)
        self.wait_for("bearerd 0.1.0 serves")
        return server

    def wait_for(self, text: str) -> None:
        """Return once `text` stands on the stderr of what was started."""
        end = time.monotonic() + 15
        while text not in self.said:
            assert time.monotonic() < end, self.said
            time.sleep(0.02)

    @property
    def said(self) -> str:
        """The stderr of what was started."""
        return (self.home / "stderr.txt").read_text()

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()


def line_of(process: "subprocess.Popen[str]") -> Any:
    """The one JSON line that `--json` prints when everything is ready."""
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


def invoke(*arguments: str, **environ: str) -> Result:
    """A command that needs no event loop, in this process."""
    return CliRunner().invoke(cli, list(arguments), env=environ)
