"""Commands, options, exit codes and configuration keys without a word about them: none."""

import re
from pathlib import Path
from typing import Any, get_args

import click
from pydantic import BaseModel

from proxy.cli import HELP, cli
from proxy.cli.exits import MEANINGS, Exit
from proxy.cli.topics import TOPICS, exit_codes
from proxy.config.keys import ANY, keys
from proxy.config.model import Settings
from tests.commandpage import commands, options, render

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"


def test_the_page_of_commands_is_up_to_date() -> None:
    """`docs/commands.md` is what the commands themselves say."""
    assert render() == (DOCS / "commands.md").read_text("utf-8"), "python -m tests.commandpage > docs/commands.md"


def test_every_command_and_option_explains_itself() -> None:
    """Each has help of its own, which ends like a sentence."""
    found = list(commands())
    mute = [path for path, command, _ in found if not (command.help or "").strip()]
    mute += [
        f"{path} {names}" for path, command, ctx in found for names, text in options(command, ctx) if not text.strip()
    ]

    assert len(found) > 30
    assert [] == mute
    assert [] == [f"bearerd {param.name}" for param in cli.params if isinstance(param, click.Option) and not param.help]


def test_every_command_is_shown_at_work() -> None:
    """README or a page of docs shows each one as it is typed, beside the page that is made."""
    pages = [ROOT / "README.md", *(page for page in DOCS.rglob("*.md") if page.name != "commands.md")]
    text = "\n".join(page.read_text("utf-8") for page in pages)
    for group, names in re.findall(r"bearerd ([a-z]+) ([a-z]+(?:\|[a-z]+)+)", text):  # oauth client|token|…
        text += "".join(f"\nbearerd {group} {name}" for name in names.split("|"))

    assert [] == [path for path, _, _ in commands() if not re.search(rf"{re.escape(path)}\b", text)]


def test_every_exit_code_is_documented() -> None:
    """In the help, the topic, the README and the page of commands."""
    for text in (exit_codes(), *((ROOT / page).read_text("utf-8") for page in ("README.md", "docs/commands.md"))):
        assert [(f"{code:d}", meaning) for code, meaning in MEANINGS.items()] == re.findall(
            r"^\| (\d) \| (.+?) \|$", text, re.MULTILINE
        )
    assert set(Exit) == set(MEANINGS)
    assert {f"{code:d}" for code in Exit} == set(re.findall(r"\b(\d) [a-z]", HELP.partition("Exit codes:")[2]))


def test_every_topic_is_named_by_the_help() -> None:
    """So that it is found without knowing of it."""
    named = HELP.partition("Topics:")[2].partition("\n\n")[0]

    assert [] == [topic for topic in TOPICS if topic not in named]


def test_every_key_of_the_configuration_is_explained() -> None:
    """Beside or above it in the example. That all are there, another test holds."""
    lines = (ROOT / "config.example.yaml").read_text("utf-8").splitlines()

    assert [] == [".".join(key) for key in keys() if key[-1] != ANY and not _explained(key[-1], lines)]


def _explained(key: str, lines: list[str]) -> bool:
    """Some line of the key has a comment, or stands below one, or below lines of its mapping that do."""
    for number, line in enumerate(lines):
        if not re.match(rf"^ *#?(?:- )?{key}:", line):
            continue
        if re.search(r"\S +# ", line):
            return True
        above = number - 1
        while above >= 0 and lines[above].strip() and not lines[above].lstrip().startswith("# "):
            above -= 1
        if above >= 0 and lines[above].lstrip().startswith("# "):
            return True
    return False


def test_every_key_has_a_description() -> None:
    """What editors show of it, from the schema."""
    models: set[type[BaseModel]] = {Settings}
    while new := {found for model in models for found in _below(model)} - models:
        models |= new

    assert len(models) > 10
    assert [] == sorted(
        f"{model.__name__}.{name}"
        for model in models
        for name, field in model.model_fields.items()
        if not field.description
    )


def _below(model: type[BaseModel]) -> set[type[BaseModel]]:
    found: set[type[BaseModel]] = set()
    left: list[Any] = [field.annotation for field in model.model_fields.values()]
    while left:
        annotation = left.pop()
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            found.add(annotation)
        left += get_args(annotation)
    return found
