"""Who means what by a local port."""

from contextlib import suppress

from proxy.gate.localport import Stream, StreamPort

ONE, OTHER = Stream("q", "q", "quotes_stream", (1,)), Stream("q", "q", "quotes_stream", (2,))


def test_a_port_that_moved_means_the_old_stream_to_who_has_not_asked_since() -> None:
    """It would get what it did not ask for. A stranger, who may have heard of the number, means what it is now."""
    port = StreamPort("127.0.0.1", ONE, pinned=True)
    port.hand_to("old")
    assert port.means("old")
    port.stand_for(OTHER)
    port.hand_to("new")
    assert (False, True, True) == (port.means("old"), port.means("new"), port.means("a stranger"))

    port.hand_to("old")
    assert port.means("old")
    assert OTHER == port.stream


def test_a_port_that_is_closed_tells_those_inside() -> None:
    """Those who have left before hear nothing."""
    port, told = StreamPort("127.0.0.1", ONE), list[tuple[str, int, str]]()
    with port.held(lambda code, reason: told.append(("stays", code, reason))):
        with port.held(lambda code, reason: told.append(("leaves", code, reason))):
            pass
        port.end_all(1012, "moved")
    assert [("stays", 1012, "moved")] == told


def test_a_port_knows_whether_somebody_is_inside() -> None:
    """Each client counts until it has gone, however it goes."""
    port = StreamPort("127.0.0.1", ONE)
    with port.entered(), port.entered():
        assert 2 == port.sockets
    with suppress(ZeroDivisionError), port.entered():
        _ = 1 / 0
    assert 0 == port.sockets
