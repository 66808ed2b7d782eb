"""Tells a file from another one that has taken its place, without reading it."""

from pathlib import Path

Stamp = tuple[str, int, int, int, int, int]


def stamp(file: Path) -> Stamp:
    """Which file that is right now. `OSError`. Blocks.

    Size and time of a new one may be those of the old one (an archive's, a copy's), and its number may be given again;
    when the system changed it last nobody can set.
    """
    about = file.stat()
    return str(file), about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns


def stamp_of(name: str | None) -> Stamp | None:
    """The same of a file of that name, if there is one. Blocks."""
    try:
        return None if name is None else stamp(Path(name).expanduser())
    except OSError:
        return None
