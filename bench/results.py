"""`results.json`: one section a part, with the machine that all of them were measured on."""

import json
from pathlib import Path
from typing import Any

from bench.machine import facts
from bench.plan import Section

FILE = Path(__file__).with_name("results.json")


def kept(file: Path = FILE) -> dict[str, Any]:
    """What was measured before; nothing without a file."""
    if not file.exists():
        return {}
    found: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return found


def keep(part: str, section: Section, file: Path = FILE) -> None:
    """Put a section in the place of its last measurement. Those of another machine go."""
    document = kept(file)
    here = facts()
    if document.get("machine") != here:
        document = {}
    document |= {"machine": here, part: section}
    file.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", "utf-8")
