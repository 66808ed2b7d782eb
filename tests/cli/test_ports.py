"""Reserved ports."""

import socket

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
