"""One hook, told one thing: what arrives, and what a person is shown of how it went."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy.alerts.notice import begun
from proxy.alerts.teller import Teller, new_id, try_all
from proxy.alerts.webhook import Names
from proxy.clock import SystemClock
from proxy.hooks import Program
from tests.alerts.receivers import SECRET, HandClock, Received, hook, receiving, status, trouble, webhook

DOCS = Path(__file__).resolve().parents[2] / "docs/alerts.md"


def checker() -> Any:
    """The function of the documentation."""
    (text,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(text, names)  # noqa: S102  what people will run
    return names["check"]


async def test_the_documentation_s_function_checks_signatures() -> None:
    """It takes a test event, and refuses another body, another id, another secret, and what is old."""
    check = checker()
    async with receiving() as receiver:
        assert [True] == [each["ok"] for each in await try_all([hook(webhook(receiver.host))])]
    (found,) = receiver.received
    check(SECRET, found.headers, found.body)
    for headers, body, secret, age in _forged(found):
        with pytest.raises(ValueError, match="wrong signature" if age > 0 else "too old"):
            check(secret, headers, body, age)


def _forged(found: Received) -> Iterator[tuple[dict[str, str], bytes, str, float]]:
    yield found.headers, found.body + b" ", SECRET, 300
    yield found.headers | {"webhook-id": "msg_x"}, found.body, SECRET, 300
    yield found.headers | {"webhook-timestamp": "1"}, found.body, SECRET, 300
    yield found.headers, found.body, SECRET[:-4] + "MDAw", 300
    yield found.headers, found.body, SECRET, -1


async def test_both_ways_tell_the_same(state_dir: Path) -> None:
    """The body of the post and the stdin of the command are one document; the time of the try is signed."""
    clock = HandClock()
    tell, notice = Teller(clock, Names(), "desk"), begun(trouble(), "msg_1", clock.now().wall)
    script = hook(Program(Path("/bin/sh"), ("-c", "cat > said"), state_dir))
    async with receiving() as receiver:
        for way in (hook(webhook(receiver.host)), script):
            assert (await tell(way, notice)).ok
    (found,) = receiver.received
    assert notice.document("desk") == found.document == json.loads((state_dir / "said").read_text())
    assert ("msg_1", "1800000000") == (found.headers["webhook-id"], found.headers["webhook-timestamp"])
    assert (await Teller(SystemClock(), Names())(script, notice)).ok
    assert json.loads((state_dir / "said").read_text())["server"]


async def test_what_came_back_from_a_test_is_shown_with_care(state_dir: Path) -> None:
    """One short line, without what looks like a secret or an account; each hook by its name."""
    body = b"account 26598145\nBearer abcdefghijk\x1b[2J" + b"x" * 5000
    loud = hook(Program(Path("/bin/sh"), ("-c", "echo out; echo err >&2; exit 7"), state_dir), "page")
    async with receiving(status("502 Bad Gateway", body=body)) as receiver:
        first, second = await try_all([hook(webhook(receiver.host)), loud])
    assert ("ops", "webhook", False, "502 Bad Gateway") == tuple(first[name] for name in ("hook", "kind", "ok", "said"))
    assert first["output"].startswith("account ***145 Bearer ***")
    assert len(first["output"]) <= 300
    assert "\x1b" not in first["output"]
    assert ("page", "exit 7", "out err") == (second["hook"], second["said"], second["output"])


def test_each_notice_has_a_name_of_its_own() -> None:
    """A hundred of them."""
    assert 100 == len({new_id() for _ in range(100)})
