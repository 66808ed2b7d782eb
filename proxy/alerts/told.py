"""What each hook was told of and not yet the end of, kept in the state directory over a restart.

It is a help against telling twice, and no more: a file that is torn, or that others could have written, is passed over,
and what is wrong then is told once more.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from proxy import logs
from proxy.alerts.notice import Trouble
from proxy.store import UnsafeFile
from proxy.store.files import read_private, write_private

NAME = "alerts.json"
_FORMAT = 1
_LARGEST = 4 << 20  # bytes

Told = Mapping[str, Mapping[str, Trouble]]  # hook → key → what it was told

log = logs.get("alerts")


def load(path: Path) -> dict[str, dict[str, Trouble]]:
    """What stands there; nothing if it can't be read. Blocks."""
    try:
        document = json.loads(read_private(path, _LARGEST))
        hooks = document["told"] if document["format"] == _FORMAT else {}
        return {hook: {each.key: each for each in map(Trouble.of, troubles)} for hook, troubles in hooks.items()}
    except FileNotFoundError:
        return {}
    except (OSError, UnsafeFile, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        reason = str(error) if isinstance(error, UnsafeFile) else type(error).__name__
        log.warning("what was told of troubles can't be read; what is wrong is told again", reason=reason)
        return {}


def save(path: Path, told: Told) -> None:
    """Keep it, in the place of what was there. `OSError`. Blocks."""
    troubles = {hook: [trouble.record() for trouble in found.values()] for hook, found in told.items() if found}
    text = json.dumps({"format": _FORMAT, "told": troubles}, separators=(",", ":"))
    write_private(path, text.encode(), replace=True)
