"""Looks for inputs that break a promise of `harness.py`, led by coverage: `python tests/fuzz/fuzz.py target`.

What follows the harness's name goes to libFuzzer (`-max_total_time=60`, `-runs=100000`). It starts from the corpus in
`corpus/`; with `--keep` before the name, what it finds on new paths is written back there.
"""

import importlib
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__).resolve().parent
LONGEST = 400  # bytes of an input


def read(name: str) -> list[bytes]:
    """The kept inputs of a harness: a line each, bytes beyond printable ASCII as `\\xNN`."""
    lines = (HERE / "corpus" / f"{name}.txt").read_text(encoding="ascii").splitlines()
    return [unescape(line) for line in lines]


def unescape(line: str) -> bytes:
    """The input of a line."""
    text = re.sub(r"\\x([0-9a-f]{2})", lambda code: chr(int(code[1], 16)), line)
    return text.encode("latin-1")


def escape(data: bytes) -> str:
    """One line for an input; a backslash is escaped too."""
    return "".join(chr(byte) if 0x20 <= byte < 0x7F and byte != 0x5C else f"\\x{byte:02x}" for byte in data)


def keep(name: str, found: list[bytes]) -> None:
    """Write a corpus anew."""
    text = "".join(f"{escape(data)}\n" for data in sorted(set(found), key=lambda data: (len(data), data)))
    (HERE / "corpus" / f"{name}.txt").write_text(text, encoding="ascii")


def _fuzz(program: str, name: str, arguments: list[str]) -> None:
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["proxy.gate", "proxy.relay.headers", "proxy.plainhead"]):
        harness = importlib.import_module("harness")
    atheris.Setup([program, *arguments], harness.HARNESSES[name])
    atheris.Fuzz()


def _run(name: str, arguments: list[str], *, keeping: bool) -> int:
    """The fuzzer in a process of its own: libFuzzer ends the process that it runs in."""
    with TemporaryDirectory() as folder:
        seeds, least = Path(folder, "seeds"), Path(folder, "least")
        seeds.mkdir()
        least.mkdir()
        for number, data in enumerate(read(name)):
            (seeds / f"kept-{number}").write_bytes(data)
        # libFuzzer starts itself again where it merges: by one word, without arguments of ours.
        program = Path(folder, "program")
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{__file__}" --inside "$0" {name} "$@"\n')
        program.chmod(0o700)
        words = importlib.import_module("harness").WORDS[name]
        (Path(folder) / "words").write_text("".join(f'"{escape(word.encode("latin-1"))}"\n' for word in words))
        options = [
            f"-dict={folder}/words",
            f"-max_len={LONGEST}",
            f"-artifact_prefix={folder}/",
            "-print_final_stats=1",
        ]
        code = subprocess.run([program, *options, *arguments, str(seeds)], check=False).returncode
        for crash in Path(folder).glob("*-*"):
            print(f"{name}: breaks with {escape(crash.read_bytes())}", file=sys.stderr)
        if keeping:
            subprocess.run([program, *options, "-merge=1", str(least), str(seeds)], check=True)
            keep(name, [file.read_bytes() for file in least.iterdir()])
    return code


def main(arguments: list[str]) -> int:
    match arguments:
        case ["--inside", program, name, *rest]:
            _fuzz(program, name, rest)
            return 0
        case ["--keep", name, *rest]:
            return _run(name, rest, keeping=True)
        case [name, *rest]:
            return _run(name, rest, keeping=False)
        case _:
            print(__doc__)
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
