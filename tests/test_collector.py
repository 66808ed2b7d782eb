from pathlib import Path

import pytest

from proxy.collector import read_collector
from proxy.config import Config, load
from proxy.store.files import write_private

HERE, AWAY = "http://127.0.0.1:4318/v1/traces", "http://collector.example.com:4318/v1/traces"


def _config(directory: Path, **keys: str) -> Config:
    lines = "".join(f"  {name}: {value}\n" for name, value in keys.items())
    file = directory / "config.yaml"
    file.write_text(f"version: 1\nclients: none\ntracing:\n  sample: 1.0\n{lines}")
    loaded = load(file, {"HOME": str(directory)})
    assert loaded.draft is not None
    return loaded.draft


def _wrong(directory: Path, **keys: str) -> list[str]:
    return [problem.message for problem in read_collector(_config(directory, **keys))[1]]


def test_without_an_address_there_is_no_collector(tmp_path: Path) -> None:
    """And what would be for it is a mistake."""
    assert (None, []) == read_collector(_config(tmp_path))
    assert ["nothing is sent without an endpoint"] * 2 == _wrong(tmp_path, headers_file="a", ca_file="b")


def test_a_collector_is_read_with_its_headers(tmp_path: Path) -> None:
    """Names in lower case, values as they stand, comments and empty lines left out; no value is ever shown."""
    write_private(tmp_path / "headers", b"# of the collector\nAuthorization: Bearer canary\n\nX-Team:desk \n")
    (tmp_path / "ca.pem").write_text("-")
    found, problems = read_collector(
        _config(tmp_path, endpoint=HERE, service="desk", headers_file="headers", ca_file="ca.pem")
    )
    assert [] == problems
    assert found is not None
    assert (HERE, "desk", str(tmp_path / "ca.pem")) == (found.endpoint, found.service, found.ca_file)
    assert {"authorization": "Bearer canary", "x-team": "desk"} == {
        name: value.reveal() for name, value in found.headers.items()
    }
    assert "canary" not in repr(found)


def test_without_the_library_the_error_names_it(tmp_path: Path) -> None:
    """With the command that helps."""
    _, (problem,) = read_collector(_config(tmp_path, endpoint=HERE), ["no_such_library.part"])
    assert ("tracing.endpoint", "run: pip install 'bearerd[otel]'") == (problem.path, problem.fix)


def test_headers_go_over_no_open_network(tmp_path: Path) -> None:
    """They are secrets; spans alone may go to a collector in a private network."""
    write_private(tmp_path / "headers", b"A: b\n")
    assert [] == _wrong(tmp_path, endpoint=AWAY)
    assert [] == _wrong(tmp_path, endpoint=AWAY.replace("http:", "https:"), headers_file="headers")
    assert ["the headers of headers_file would cross the network unencrypted"] == _wrong(
        tmp_path, endpoint=AWAY, headers_file="headers"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"Authorization\n", "its line 1 is no header"),
        (b"A: b\nA b: canary\n", "its line 2 is no header"),
        (b"A: canary\na: b\n", "its line 2 names a header that is written here, or is there twice"),
        (b"Content-Type: canary\n", "its line 1 names a header that is written here, or is there twice"),
        (b"A: \xff\n", "the file cannot be read"),
        (b"A: can\x01ary\n", "its line 1 is no header"),
    ],
    ids=["no-colon", "blank", "twice", "ours", "no-ascii", "control"],
)
def test_what_is_no_header_is_refused(text: bytes, message: str, tmp_path: Path) -> None:
    """With its line, and nothing of it is quoted."""
    write_private(tmp_path / "headers", text)
    assert [message] == _wrong(tmp_path, endpoint=HERE, headers_file="headers")


def test_files_have_to_be_there(tmp_path: Path) -> None:
    """And the one with secrets must be nobody else's to read."""
    assert ["the file cannot be read"] == _wrong(tmp_path, endpoint=HERE, headers_file="nothing")
    assert ["there is no such file"] == _wrong(tmp_path, endpoint=HERE, ca_file="nothing")
    (tmp_path / "open").write_text("A: b\n")
    (tmp_path / "open").chmod(0o644)
    (found,) = _wrong(tmp_path, endpoint=HERE, headers_file="open")
    assert found.startswith("the file cannot be used")
