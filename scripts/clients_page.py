#!/usr/bin/env python3
"""Writes the programs of docs/clients.md anew, from the table that the console's page has them from."""

from pathlib import Path

from proxy.console.snippets import on_page

PAGE = Path(__file__).resolve().parent.parent / "docs/clients.md"

if __name__ == "__main__":
    PAGE.write_text(on_page(PAGE.read_text("utf-8")), "utf-8")
