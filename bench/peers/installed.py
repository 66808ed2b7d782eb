"""What scripts/setup has installed for the benchmark: programs and packages of its virtual environment."""

from collections.abc import Callable
from importlib.metadata import distributions

from bench.peers.peer import TOOLS
from bench.processes import Missing


def program(name: str) -> str:
    """Its file. Missing without one."""
    found = TOOLS / "bin" / name
    if not found.exists():
        raise Missing(f"{name} is not installed; scripts/setup bench does it")
    return str(found)


def version(package: str) -> Callable[[], str]:
    """What finds the version of a package; Missing if it is not installed."""

    def find() -> str:
        places = [str(each) for each in TOOLS.glob("lib/python*/site-packages")]
        for each in distributions(name=package, path=places):
            return each.version
        raise Missing(f"the package {package} is not installed; scripts/setup bench does it")

    return find
