#!/usr/bin/env python3
"""Makes the pictures of the README anew: the console of a real demo, in a real Chromium.

    .venv/bin/python scripts/screenshots.py [FOLDER]        # docs/images

Programs call the demo for a while first, so that there is something to see. Nothing leaves this machine.
"""

import argparse
import contextlib
import json
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
FLAGS = ["--no-sandbox", "--disable-gpu"]
READS = ("/questrade/v1/accounts", "/questrade/v1/markets", "/tradier/v1/user/profile", "/alpaca/v2/clock")
ORDER = "/questrade/v1/accounts/26598145/orders"
WIDE: ViewportSize = {"width": 1200, "height": 860}


@contextlib.contextmanager
def demonstrated() -> Iterator[dict[str, Any]]:
    """A running demo: what it says of itself with --json."""
    command = [sys.executable, "-m", "proxy", "demo", "--json", "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as running:
        try:
            yield json.loads(running.stdout.readline() if running.stdout is not None else "")
        finally:
            running.terminate()


def call(url: str, key: str, body: bytes | None = None) -> None:
    """As a program does; that it is refused may be what is to be seen."""
    headers = {"Authorization": f"Bearer {key}", "Accept": "application/json"}
    request = urllib.request.Request(url, data=body, headers=headers)  # noqa: S310  of the demo
    with contextlib.suppress(urllib.error.HTTPError):
        urllib.request.urlopen(request, timeout=10).read()  # noqa: S310


def work(demo: dict[str, Any], seconds: int) -> None:
    """Reads, and an order now and then that this key may not place."""
    for second in range(seconds):
        for path in READS[: 1 + second % len(READS)]:
            call(demo["url"] + path, demo["client_key"])
        if second % 7 == 0:
            call(demo["url"] + ORDER, demo["client_key"], b"{}")
        time.sleep(1)


def spoil(demo: dict[str, Any]) -> None:
    """Another program redeems Questrade's refresh token, and the next renewal is refused: a person is needed."""
    for what in ("steal", "expire"):
        call(f"{demo['control']}/{what}", "-", json.dumps({"broker": "questrade"}).encode())
    call(demo["url"] + READS[0], demo["client_key"])


@contextlib.contextmanager
def opened(browser: Browser, demo: dict[str, Any], scheme: Literal["light", "dark"]) -> Iterator[Page]:
    """The console's page, once it is live."""
    context = browser.new_context(color_scheme=scheme, viewport=WIDE, device_scale_factor=1.5)
    page = context.new_page()
    page.goto(demo["console"])
    page.locator("#pace", has_text="live").wait_for()
    yield page
    context.close()


def taken(folder: Path, seconds: int) -> Iterator[Path]:
    """The top of the page when all is well, what happened lately, and the top when a person is needed."""
    folder.mkdir(parents=True, exist_ok=True)
    with demonstrated() as demo, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        work(demo, seconds)
        with opened(browser, demo, "light") as page:
            yield shot(page, folder / "console.png")
            activity = folder / "console-activity.png"
            page.locator("section:has(> #charts-heading)").screenshot(path=activity)
            yield activity
        spoil(demo)
        with opened(browser, demo, "dark") as page:
            page.locator("#needs-heading").wait_for()
            yield shot(page, folder / "console-needs-you.png")
        browser.close()


def shot(page: Page, file: Path) -> Path:
    """What is in the window."""
    page.screenshot(path=file)
    return file


def main() -> None:
    """Make them, and say which."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "docs/images")
    parser.add_argument("--seconds", type=int, default=240, help="for which programs call before the first picture")
    arguments = parser.parse_args()
    for file in taken(arguments.folder, arguments.seconds):
        print(file.name)


if __name__ == "__main__":
    main()
