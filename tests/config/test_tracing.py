from pathlib import Path

import pytest

from proxy.config import ConfigInvalid
from proxy.settings import read


def _read(directory: Path, line: str) -> str:
    file = directory / "config.yaml"
    file.write_text(f"version: 1\nclients: none\ntracing: {{{line}}}\n")
    try:
        found = read(file, {"HOME": str(directory)}).config.tracing
    except ConfigInvalid as wrong:
        return "; ".join(problem.message for problem in wrong.problems)
    return f"{found.endpoint} {found.sample:g} {found.service}"


@pytest.mark.parametrize(
    "endpoint",
    ["http://127.0.0.1:4318/v1/traces", "https://otel.example.com", "http://[::1]:4318/", "https://h/a-b/~c;d=1"],
    ids=["loopback", "host", "ipv6", "path"],
)
def test_an_address_is_taken_as_it_is(endpoint: str, tmp_path: Path) -> None:
    """The whole of it: nothing is added."""
    assert f"{endpoint} 1 bearerd" == _read(tmp_path, f'endpoint: "{endpoint}"')


@pytest.mark.parametrize(
    "endpoint",
    [
        "127.0.0.1:4318", "grpc://h:4317", "http://", "http://u:p@h/", "http://h/?a=b", "http://h/#a", "http://h:0/",
        "http://h:99999/", "http://h/a b", "http://h\\\\@i/", "http://[::1/", "HTTP://h/",
    ],
    ids=[
        "no-scheme", "grpc", "no-host", "user", "query", "fragment", "port-0", "port", "blank", "backslash", "bracket",
        "upper",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(endpoint: str, tmp_path: Path) -> None:
    """Neither what could be read in two ways nor what would hold a secret."""
    assert "is no address of a collector" in _read(tmp_path, f'endpoint: "{endpoint}"')


def test_all_else_has_its_form_too(tmp_path: Path) -> None:
    """A part of the calls, and a name that a collector shows."""
    assert "None 0.25 desk-1" == _read(tmp_path, "sample: 0.25, service: desk-1")
    assert "is no name of a service" in _read(tmp_path, 'service: "a b"')
    for sample in ("-0.1", "1.1", "often"):
        assert "None" not in _read(tmp_path, f"sample: {sample}")
