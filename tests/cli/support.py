"""The command line as a person has it: a home directory of its own, and processes."""

import contextlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from click.testing import CliRunner, Result

from proxy import __version__
from proxy.cli import cli
from tests.product import Done, Program, run

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


@dataclass
class Person:
    """Somebody with a home directory, who types commands there. Programs are ended by the fixture."""

    home: Path
    programs: list[Program] = field(default_factory=list)

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
        return run(self.home, *arguments, stdin=stdin, environ=environ)

    def start(self, *arguments: str, **environ: str) -> Program:
        """A command that goes on running."""
        self.programs.append(Program(self.home, *arguments, environ=environ))
        return self.programs[-1]

    def serve(self, *arguments: str, **environ: str) -> Program:
        """`bearerd serve`, once it serves."""
        server = self.start("serve", *arguments, **environ)
        server.until(f"bearerd {__version__} serves")
        return server

    def close(self) -> None:
        """End what still runs, and what that has started: a demo that is killed leaves its server behind."""
        for program in self.programs:
            with contextlib.suppress(psutil.NoSuchProcess):
                started = psutil.Process(program.pid).children(recursive=True)
                program.kill()
                for process in started:
                    process.kill()
            program.kill()


def invoke(*arguments: str, **environ: str) -> Result:
    """A command that needs no event loop, in this process."""
    return CliRunner().invoke(cli, list(arguments), env=environ)
