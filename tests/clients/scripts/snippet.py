"""Runs programs of a person's own, one after the other, each as if it were alone: `snippet.py DIRECTORY`.

For each line of stdin, the name of a program and of its working directory, a fork runs it; what it printed is in
`NAME.out` then, and its exit code is a line on stdout. Forks share what many of them import: that is all this is for.
"""

import os
import runpy
import sys
import traceback
from pathlib import Path

import aiohttp  # noqa: F401
import httpx  # noqa: F401
import pandas as pd  # type: ignore[import-untyped]  # noqa: F401
import requests  # noqa: F401


def run(program: Path, home: Path) -> None:
    """In the fork: the program as `python bot.py` would run it."""
    out = os.open(program.with_suffix(".out"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.environ["HOME"] = str(home)
    os.chdir(home)
    sys.argv = [str(program)]
    runpy.run_path(str(program), run_name="__main__")


for line in sys.stdin:
    name, home = line.rstrip("\n").split("\t")
    child = os.fork()
    if not child:
        code = 1
        try:
            run(Path(name), Path(home))
            code = 0
        except BaseException:  # noqa: BLE001  whatever it is, the test shows it
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
