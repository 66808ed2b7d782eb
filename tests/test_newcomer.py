"""Somebody who has read the first section of the README and nothing else comes to a first call."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.product import Program

ROOT = Path(__file__).resolve().parent.parent
MOST = 3  # commands after the clone
WITHIN = 90.0  # seconds, on a machine that has the packages of Debian and none of Python's


def commands() -> list[str]:
    """What the section has one type after the clone; what it has one paste comes with the output of these."""
    section = (ROOT / "README.md").read_text("utf-8").partition("\n## Try it")[2].partition("\n## ")[0]
    blocks = re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    assert 1 == len(blocks)
    clone, *rest = str(blocks[0]).splitlines()
    assert clone.startswith("git clone ")
    assert clone.endswith("&& cd bearerd")
    assert "In another terminal paste one of the `curl` lines that it prints" in section
    return rest


def pasted(output: str) -> dict[str, object]:
    """The answer to the first `curl` line of a demo, run as it stands."""
    (line, *_) = re.findall(r"^\$ (curl .*)$", output, re.MULTILINE)
    done = subprocess.run(line, shell=True, capture_output=True, text=True, check=True, timeout=20)  # noqa: S602
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def test_a_first_call_takes_few_commands(tmp_path: Path, program: Callable[[str], str]) -> None:
    """`make demo` starts the demo, and the line that it prints is a call that is answered."""
    program("curl")
    typed = commands()
    assert ["make demo"] == typed
    assert len(typed) + 1 <= MOST
    recipe = subprocess.run(["make", "-n", "demo"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "exec .venv/bin/bearerd demo" in recipe
    with Program(tmp_path, "demo", "--port", "0") as demo:
        demo.until("It serves until Ctrl-C.")
        assert "26598145" in json.dumps(pasted(demo.output))


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_a_first_call_from_an_empty_folder(
    tmp_path: Path, program: Callable[[str], str], figure: Callable[[object], None]
) -> None:
    """Clone, `make demo`, the line that it prints: the whole of it, with the packages fetched."""
    program("curl")
    began = time.monotonic()
    subprocess.run(["git", "clone", "-q", str(ROOT), "bearerd"], cwd=tmp_path, check=True)
    clone = tmp_path / "bearerd"
    with (
        (tmp_path / "out").open("w+") as out,
        subprocess.Popen(["make", "demo", "ARGS=--port 0"], cwd=clone, stdout=out, stderr=subprocess.STDOUT) as demo,
    ):
        try:
            text = ""
            while "It serves until Ctrl-C." not in text:
                assert demo.poll() is None, text
                time.sleep(0.1)
                text = (tmp_path / "out").read_text()
            assert "26598145" in json.dumps(pasted(text))
            took = time.monotonic() - began
        finally:
            demo.terminate()
            demo.wait(20)
    shutil.rmtree(clone)
    figure(f"{took:.0f} s from the clone to the first call")
    assert took <= WITHIN
