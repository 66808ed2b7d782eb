"""The control listener."""

import pytest

from tests.simulator.support import Bot


async def test_the_state_of_a_fresh_simulator(stranger: Bot) -> None:
    """One refresh token was made by hand, and nothing has happened: every field, and no other."""
    links = stranger.running.simulators["questrade"].links()
    expected = {
        "token_posts": 0,
        "rotations": 0,
        "reused_refresh_tokens": 0,
        "generation": 1,
        "api_server": links.api_servers[0],
        "calls": {},
        "authorizations": {"current": 0, "stale": 0, "foreign": 0, "none": 0},
        "orders": 0,
    }

    assert expected == await stranger.state()


async def test_faults_are_listed_with_what_they_hit(stranger: Bot) -> None:
    """`GET /faults` is a name and a clause for each fault of each broker."""
    reply = await stranger.send("GET", stranger.running.control + "/faults")

    listed = reply.document["questrade"]
    assert listed["token-500"].startswith("token endpoint: ")
    assert listed["api-500"].startswith("any API call: ")
    assert "none" not in listed


async def test_arming_answers_what_is_armed(stranger: Bot) -> None:
    """`times` is 1 unless it is given; `none` clears."""
    assert {"questrade": {"api-500": 1}} == (await stranger.control("/faults", fault="api-500")).document
    armed = (await stranger.control("/faults", fault="token-500", times=3)).document
    assert {"questrade": {"api-500": 1, "token-500": 3}} == armed
    assert {"questrade": {}} == (await stranger.control("/faults", fault="none")).document


async def test_a_limit_is_set_and_lifted(bot: Bot) -> None:
    """So many calls in so many seconds, of each category, are all that pass; 0 lifts it."""
    simulator = bot.running.simulators["questrade"]
    small = (await bot.control("/limits", calls=5, seconds=0.5)).document
    assert {"questrade": {"calls": 5, "seconds": 0.5}} == small
    assert (5, 0.5) == simulator.options.limit
    assert {"questrade": {"calls": 3, "seconds": 60}} == (await bot.control("/limits", calls=3)).document
    assert 200 == (await bot.control("/limits", calls=0)).status
    assert simulator.options.limit is None


async def test_the_knobs_of_streams_are_turned_and_shown(bot: Bot) -> None:
    """All of them, with what is open; those that are not named stay."""
    turned = (await bot.control("/stream", rate=20, burst=5)).document["questrade"]
    assert (20, 5, 1) == (turned["rate"], turned["burst"], turned["connections"])
    assert {"open": 0, "opened": 0, "sent": 0}.items() <= turned.items()
    shown = (await bot.send("GET", bot.running.control + "/stream")).document["questrade"]
    assert {name: value for name, value in turned.items() if name != "beat"} == {
        name: value for name, value in shown.items() if name != "beat"
    }


@pytest.mark.parametrize("path", ["/expire", "/move-api-server", "/steal"])
async def test_a_command_answers_the_new_state(bot: Bot, path: str) -> None:
    """A person sees at once what the command did."""
    reply = await bot.control(path)

    assert (200, {"questrade": await bot.state()}) == (reply.status, reply.document)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/expire", b'{"broker": "tardier"}'),
        ("/expire", b'{"broker": ["questrade"]}'),
        ("/expire", b"{}"),
        ("/steal", b""),
        ("/steal", b"not json"),
        ("/steal", b'["questrade"]'),
        ("/steal", b"[" * 100_000),
        ("/move-api-server", b'{"broker": "questrade", "host": "x"}'),
        ("/faults", b'{"broker": "questrade"}'),
        ("/faults", b'{"broker": "questrade", "fault": "api-50"}'),
        ("/faults", b'{"broker": "questrade", "fault": 5}'),
        ("/faults", b'{"broker": "questrade", "fault": "api-500", "times": 0}'),
        ("/faults", b'{"broker": "questrade", "fault": "api-500", "times": "2"}'),
        ("/faults", b'{"broker": "questrade", "fault": "api-500", "times": 1.5}'),
        ("/faults", b'{"broker": "nobody", "fault": "none"}'),
        ("/limits", b'{"broker": "questrade"}'),
        ("/limits", b'{"broker": "questrade", "calls": -1}'),
        ("/limits", b'{"broker": "questrade", "calls": true}'),
        ("/limits", b'{"broker": "questrade", "calls": 1.5}'),
        ("/limits", b'{"broker": "questrade", "calls": 1, "seconds": 0}'),
        ("/limits", b'{"broker": "questrade", "calls": 1, "seconds": "5"}'),
        ("/limits", b'{"broker": "questrade", "calls": 1, "seconds": 100000}'),
        ("/limits", b'{"broker": "questrade", "calls": 1, "times": 1}'),
        ("/stream", b'{"broker": "questrade", "rat": 1}'),
        ("/stream", b'{"broker": "questrade", "rate": -1}'),
        ("/stream", b'{"broker": "questrade", "stale": "dead"}'),
    ],
)
async def test_a_mistake_is_a_400_in_json_that_changes_nothing(bot: Bot, path: str, body: bytes) -> None:
    """Unknown brokers, faults and fields are errors, never ignored."""
    before = await bot.state()

    reply = await bot.send("POST", bot.running.control + path, data=body)

    assert 400 == reply.status
    assert ["error"] == list(reply.document)
    assert before == await bot.state()
    assert {} == bot.running.simulators["questrade"].faults.armed()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("POST", "/stat", 404),
        ("POST", "/state", 405),
        ("GET", "/expire", 405),
        ("PUT", "/faults", 405),
    ],
)
async def test_unknown_paths_and_methods_are_refused(bot: Bot, method: str, path: str, status: int) -> None:
    """A typing error is answered with what exists."""
    reply = await bot.send(method, bot.running.control + path)

    assert status == reply.status
    assert "error" in reply.document


async def test_the_query_of_a_control_request_is_ignored(bot: Bot) -> None:
    """`/state?t=1` is `/state`."""
    assert 200 == (await bot.send("GET", bot.running.control + "/state?t=1")).status
