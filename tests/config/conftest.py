from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from proxy.config import Loaded, load

LoadText = Callable[..., Loaded]


@pytest.fixture(name="load_text")
def _load_text(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> LoadText:
    """`load_text(text, **environment)`: what comes of a `config.yaml` with that text in an empty directory."""
    monkeypatch.chdir(state_dir)

    def load_it(text: str, overrides: Mapping[str, str] | None = None, **environ: str) -> Loaded:
        Path("config.yaml").write_text(text, "utf-8")
        return load(Path("config.yaml"), {"HOME": "/home/somebody"} | environ, overrides)

    return load_it
