"""Makes a state directory as an earlier bearerd left it, by that bearerd's own code, and packs it.

    git archive COMMIT | tar -x -C OLD && cd OLD && PYTHONPATH=. python .../tests/formats/make.py NAME.tar.gz

The keys and tokens in it are made up here, and good for nothing. What is found in it says `test_formats.py`.
"""

import asyncio
import gzip
import io
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from proxy.brokers import Origin
from proxy.clientkeys import ClientKeys
from proxy.clock import SystemClock
from proxy.config import load
from proxy.custody import Custody
from proxy.secret import Secret
from proxy.store.keys import Source
from proxy.tokens.grant import Grant, token_hash
from proxy.tokens.journal import Intent

CONFIG = """\
version: 1
store: sqlite:state/store.db
key: file:master.key
mounts:
  questrade: {broker: questrade, environment: live, scopes: [read_acc]}
clients:
  notebook: {questrade: [read_acc]}
"""
GRANT = Grant(
    "questrade",
    generation=1,
    lineage="a made-up login",
    issuer="questrade/live",
    refresh_token=Secret("made-up-refresh-token"),
    access_token=Secret("made-up-access-token"),
    origin=Origin("api01.iq.questrade.com", 443),
    refreshed=1_795_000_000.0,
    expires=1_795_001_800.0,
    life=1800.0,
)
ANSWER = b'{"access_token":"made-up-2","refresh_token":"made-up-3","api_server":"https://api01.iq.questrade.com/"}'


async def fill(home: Path) -> None:
    """A grant, a client key, and an answer in the journal that its server did not live to commit."""
    (home / "config.yaml").write_text(CONFIG)
    config = load(home / "config.yaml", {"HOME": str(home)}).require()
    source = Source(config.key, home, config.state_dir)
    source.create()
    custody: Any = await Custody.open(config, source)
    await custody.vault.put("grant/questrade", expected=0, value=GRANT.to_record())
    await ClientKeys(custody.vault, SystemClock()).add("notebook")
    secret = GRANT.refresh_token
    assert secret is not None
    slot = await custody.journal.begin(
        Intent("questrade", 1, GRANT.lineage, token_hash(secret), 1, login=False, wall=1_795_001_500.0, boot_id="")
    )
    custody.journal.keep(slot, 200, "application/json", ANSWER)
    await custody.journal.sync(slot)
    if hasattr(custody, "trail"):
        await custody.trail.open()
        custody.trail.put("act", '"what":"made for a test"')
    await custody.close()


def pack(home: Path, target: Path) -> None:
    """All regular files but the lock, with fixed times."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(home.rglob("*")):
            if path.is_file() and path.suffix != ".lock":
                info = tarfile.TarInfo(path.relative_to(home).as_posix())
                info.size, info.mode = path.stat().st_size, 0o600
                archive.addfile(info, io.BytesIO(path.read_bytes()))
    target.write_bytes(gzip.compress(raw.getvalue(), mtime=0))


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        asyncio.run(fill(home))
        pack(home, Path(sys.argv[1]))


if __name__ == "__main__":
    main()
