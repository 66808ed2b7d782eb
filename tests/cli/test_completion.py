"""What a shell completes: commands, and names from the configuration."""

import shutil
import subprocess

import pytest

from tests.cli.support import Person, invoke


def completed(person: Person, *words: str) -> list[str]:
    """What bash would offer for the last word."""
    line = " ".join(["bearerd", *words])
    asked = {"_BEARERD_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words))}
    return [found.partition(",")[2] for found in person.run(**asked).out.split()]


def test_names_come_from_the_configuration(person: Person) -> None:
    """Mounts and clients, of the file that the line names too."""
    person.write_config()
    assert ["questrade"] == completed(person, "login", "q")
    assert ["notebook"] == completed(person, "clients", "rotate", "")
    assert ["notebook"] == completed(person, "run", "--client", "n")
    (person.home / "config.yaml").rename(person.home / "other.yaml")
    assert [] == completed(person, "login", "")
    assert ["questrade"] == completed(person, "login", "-c", "other.yaml", "q")


def test_a_configuration_with_mistakes_completes_nothing(person: Person) -> None:
    """And says nothing in the middle of a line."""
    person.config.write_text("mounts: [")
    assert [] == completed(person, "login", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell(shell: str) -> None:
    """It says where it belongs, and asks bearerd."""
    done = invoke("completion", shell)
    assert 0 == done.exit_code
    assert f"bearerd completion {shell}" in done.stdout.splitlines()[0]
    assert f"_BEARERD_COMPLETE={shell}_complete" in done.stdout
    program = shutil.which(shell)
    if program is not None:
        subprocess.run([program, "-n"], input=done.stdout, text=True, check=True)
