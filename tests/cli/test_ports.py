"""Reserved ports."""

import socket
import sys

import pytest

from proxy.cli.ports import HOST, reserve, reserve_near


def listener(port: int = 0) -> socket.socket:
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.bind((HOST, port))
    found.listen()
    return found


def test_reserved_ports_differ_and_can_be_listened_on() -> None:
    """As often as one likes: a server that was killed comes back on the same one."""
    ports, held = reserve(3)

    with held:
        assert 3 == len(set(ports))
        for port in [*ports, *ports]:
            listener(port).close()


def test_ports_from_a_number_on() -> None:
    """They follow each other; a taken one is an error that names it, and nothing stays bound."""
    with listener() as taken:
        number = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"cannot use port {number}"):
            reserve(2, number)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere ports are only found, not kept")
def test_two_who_want_the_same_ports_get_different_ones() -> None:
    """Nobody listens yet, and still the second one is not given them."""
    (number,), free = reserve(1)
    free.close()
    ports, held = reserve(1, number)
    with held:
        others, also_held = reserve_near(1, number)
        with also_held:
            assert [number] == ports
            assert number not in others
            listener(number).close()
    again, held = reserve(1, number)
    with held:
        assert [number] == again


def test_the_wanted_ports_or_free_ones() -> None:
    """Whoever only prefers a port gets others if it is taken."""
    with listener() as taken:
        number = taken.getsockname()[1]
        ports, held = reserve_near(2, number)
    with held:
        assert 2 == len(ports)
        assert number not in ports
    again, held = reserve_near(1, number)
    with held:
        assert [number] == again
