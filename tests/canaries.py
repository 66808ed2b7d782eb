"""Looks for secrets in whatever was written, in the ways in which a secret gets written."""

import base64
import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psutil


def encodings(secret: str) -> dict[str, tuple[bytes, ...]]:
    """Eight ways to write a secret. In base64 inside a longer text only what no neighbour touches is certain."""
    raw = secret.encode()
    found: dict[str, tuple[bytes, ...]] = {
        "plain": (raw,),
        "percent": (quote(raw, safe="").encode(),),
        "percent, all of it": ("".join(f"%{byte:02x}" for byte in raw).encode(),),
        "hex": (raw.hex().encode(),),
        "JSON": ("".join(f"\\u{byte:04x}" for byte in raw).encode(),),
    }
    for shift in range(3):
        start, end = -(-shift * 8 // 6), (shift + len(raw)) * 8 // 6
        text = base64.b64encode(bytes(shift) + raw)[start:end]
        found[f"base64, {shift} bytes on"] = (text, text.translate(bytes.maketrans(b"+/", b"-_")))
    return found


FOLDED = ("percent", "hex", "JSON")  # letters of these may be written in either case
KINDS = tuple(encodings("canary"))


def written(secret: str, kind: str) -> bytes:
    """A secret in one of the eight ways."""
    return encodings(secret)[kind][0]


def count(content: bytes, secret: str) -> dict[str, int]:
    """How often `secret` stands in `content`, for each way in which it does."""
    folded = content.lower()
    hits: dict[str, int] = {}
    for kind, forms in encodings(secret).items():
        lower = kind.startswith(FOLDED)
        where = folded if lower else content
        needles = {form.lower() if lower else form for form in forms}
        number = sum(where.count(needle) for needle in needles)
        if number and not (kind == "percent" and needles == {secret.lower().encode()}):
            hits[kind] = number
    return hits


@dataclass(frozen=True, slots=True)
class Hit:
    """A secret where none may be. Names only: a report must not leak either."""

    surface: str
    secret: str
    kind: str
    times: int


def search(surfaces: Mapping[str, bytes], secrets: Mapping[str, str]) -> Iterator[Hit]:
    """Every secret on every surface."""
    for surface, content in surfaces.items():
        for name, secret in secrets.items():
            for kind, times in count(content, secret).items():
                yield Hit(surface, name, kind, times)


def command_lines(root: int) -> bytes:
    """The command lines of a process and of all below it, as psutil and as /proc tell them."""
    lines = []
    with contextlib.suppress(psutil.NoSuchProcess):
        below = psutil.Process(root).children(recursive=True)
        for process in below:
            with contextlib.suppress(psutil.Error, OSError):
                lines.append(" ".join(process.cmdline()).encode())
                lines.append(Path(f"/proc/{process.pid}/cmdline").read_bytes().replace(b"\0", b" "))
    return b"\n".join(lines)


def files(directory: Path) -> bytes:
    """Everything in the files below a directory, and their names."""
    found = []
    for path in sorted(directory.rglob("*")):
        found.append(str(path).encode())
        if path.is_file():
            with contextlib.suppress(FileNotFoundError):  # a write-ahead log comes and goes
                found.append(path.read_bytes())
    return b"\n".join(found)


def middle(content: bytes, planted: bytes) -> bytes:
    """`content` with something planted in its middle, between two letters as inside a longer word."""
    half = len(content) // 2
    return content[:half] + planted + content[half:]


def without(content: bytes, patterns: Iterable[bytes]) -> bytes:
    """`content` less what may stand there, each exactly once. AssertionError if it is not there just once."""
    for pattern in patterns:
        content, times = re.subn(pattern, b"", content)
        assert times == 1, f"{times} times, not once: {pattern.decode()[:20]}…"
    return content
