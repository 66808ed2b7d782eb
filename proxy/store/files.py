"""Files that only their owner may touch, and the few system calls that custody needs, behind a small interface.

Directories are 0700, files 0600, owned by the effective user, no symlinks, no second hard link. Anything looser is
refused in one line that ends in the command that puts it right; nothing is put right silently.
"""

import contextlib
import errno
import fcntl
import hashlib
import itertools
import os
import shlex
import stat
from pathlib import Path
from typing import Protocol

from proxy.store import StoreLocked, UnsafeFile

_SAFE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # non-blocking: opening a planted FIFO must not hang
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def check_directory(path: Path, *, private: bool = True) -> None:
    """Refuse a directory that others may enter (`private`), or at least one that they may write to.

    `UnsafeFile` with the reason; `OSError` if it cannot be read.
    """
    status = path.stat()
    quoted = shlex.quote(str(path))
    if not stat.S_ISDIR(status.st_mode):
        raise UnsafeFile(f"{path} is not a directory")
    if status.st_uid != os.geteuid():
        raise UnsafeFile(f"{path} belongs to another user (uid {status.st_uid}); run: chown {os.geteuid()} {quoted}")
    if status.st_mode & (_OTHERS if private else _OTHERS_WRITE):
        fix = "700" if private else "go-w"
        verb = "be entered" if private else "be written"
        mode = stat.S_IMODE(status.st_mode)
        raise UnsafeFile(f"{path} may {verb} by other users (mode {mode:04o}); run: chmod {fix} {quoted}")


def check_place(path: Path) -> None:
    """Refuse a place for `path` where another user could put something else under that name.

    Its directory must be ours and written to by nobody else; those above must not be open to others either, but for
    sticky ones such as /tmp, where nobody can rename what is another's. `UnsafeFile`; `OSError`.
    """
    check_directory(path.parent, private=False)
    for above in path.parent.resolve().parents:
        status = above.stat()
        theirs = status.st_uid not in (0, os.geteuid())
        open_to_all = status.st_mode & _OTHERS_WRITE and not status.st_mode & stat.S_ISVTX
        if theirs or open_to_all:
            raise UnsafeFile(f"{above} may be written by other users, who could put another {path.name} there")


def make_directory(path: Path) -> None:
    """Make `path`, and what is missing above it, with mode 0700 if it is missing; then check it."""
    missing = itertools.takewhile(lambda each: not each.exists(), (path, *path.parents))
    for each in reversed(list(missing)):
        with contextlib.suppress(FileExistsError):
            each.mkdir(mode=0o700)
    check_directory(path)


def check_file(path: Path, status: os.stat_result) -> None:
    """Refuse, as `UnsafeFile`, what is not a regular 0600 file of ours with a single name."""
    quoted = shlex.quote(str(path))
    if stat.S_ISLNK(status.st_mode):
        raise UnsafeFile(f"{path} is a symbolic link; put the file itself there")
    if not stat.S_ISREG(status.st_mode):
        raise UnsafeFile(f"{path} is not a regular file")
    if status.st_uid != os.geteuid():
        raise UnsafeFile(f"{path} belongs to another user (uid {status.st_uid}); run: chown {os.geteuid()} {quoted}")
    if status.st_nlink != 1:
        raise UnsafeFile(f"{path} has {status.st_nlink} names (hard links); find the others: find / -samefile {quoted}")
    if status.st_mode & _OTHERS:
        mode = stat.S_IMODE(status.st_mode)
        raise UnsafeFile(f"{path} is open to other users (mode {mode:04o}); run: chmod 600 {quoted}")


def open_private(path: Path, flags: int = os.O_RDWR) -> int:
    """A descriptor of an existing file that passed `check_file`. `OSError` (`FileNotFoundError`) as usual."""
    try:
        descriptor = os.open(path, flags | _SAFE)
    except OSError as fault:
        if fault.errno in (errno.ELOOP, errno.EMLINK):
            raise UnsafeFile(f"{path} is a symbolic link; put the file itself there") from None
        raise
    try:
        check_file(path, os.fstat(descriptor))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def create_private(path: Path) -> int:
    """A descriptor of a new file with mode 0600, whatever the umask. `FileExistsError` if there is one."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _SAFE, 0o600)
    os.fchmod(descriptor, 0o600)
    return descriptor


def write_private(path: Path, data: bytes, *, replace: bool = False) -> None:
    """A 0600 file with `data`, durable under its name when this returns.

    `FileExistsError` if there is one already; with `replace` the old file stays whole until the new one is.
    """
    target = path.with_name(path.name + ".draft") if replace else path
    if replace:
        target.unlink(missing_ok=True)
    descriptor = create_private(target)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        sync_data(descriptor)
    except BaseException:
        target.unlink()
        raise
    finally:
        os.close(descriptor)
    if replace:
        target.replace(path)
    sync_directory(path.parent)


def read_private(path: Path, limit: int = 65536) -> bytes:
    """Up to `limit` bytes of a file that passed `check_file`."""
    descriptor = open_private(path, os.O_RDONLY)
    try:
        return os.read(descriptor, limit)
    finally:
        os.close(descriptor)


def read_provided(path: Path, limit: int = 65536) -> bytes:
    """Up to `limit` bytes of a secret that a service manager laid out for us.

    Links are followed (that is how mounted secrets come) and root may own it, but no other user may read or write it.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise UnsafeFile(f"{path} is not a regular file")
        if status.st_uid not in (0, os.geteuid()):
            raise UnsafeFile(f"{path} belongs to another user (uid {status.st_uid})")
        if status.st_mode & (stat.S_IWGRP | stat.S_IRWXO):
            mode = stat.S_IMODE(status.st_mode)
            raise UnsafeFile(
                f"{path} is open to other users (mode {mode:04o}); run: chmod 400 {shlex.quote(str(path))}"
            )
        return os.read(descriptor, limit)
    finally:
        os.close(descriptor)


def sync_data(descriptor: int) -> None:
    """Return when what was written, and the size, is on the medium. `OSError`: nobody knows what is there."""
    full = getattr(fcntl, "F_FULLFSYNC", None)  # macOS: fsync leaves data in the drive's cache
    if full is None:
        os.fdatasync(descriptor)
    else:
        fcntl.fcntl(descriptor, full)


def sync_directory(path: Path) -> None:
    """Return when the names in `path` are on the medium."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Files(Protocol):
    """What the journal and the audit trail need of a disk.

    `SystemFiles` is the machine's, `disk.MemoryDisk` one that breaks on request.

    All methods raise `OSError` as the system does; those that take a path also `UnsafeFile`.
    """

    def lock(self, path: Path) -> int:
        """Hold `path` as a lock, with our process id in it, until the descriptor is closed. `StoreLocked` if taken."""

    def open(self, path: Path) -> int:
        """An existing file. `FileNotFoundError` if there is none."""

    def create(self, path: Path) -> int:
        """A new, empty file in the place of any old one."""

    def size(self, descriptor: int) -> int:
        """Length in bytes."""

    def pread(self, descriptor: int, size: int, offset: int) -> bytes:
        """Up to `size` bytes."""

    def pwrite(self, descriptor: int, data: bytes, offset: int) -> int:
        """Write and return how many bytes were taken, which may be fewer."""

    def datasync(self, descriptor: int) -> None:
        """See `sync_data`."""

    def replace(self, source: Path, target: Path) -> None:
        """Rename, durably."""

    def names(self, directory: Path) -> list[str]:
        """The files in a directory, which is made (0700) if it is missing."""

    def remove(self, path: Path) -> None:
        """Delete a file, durably. Nothing happens if there is none."""

    def identity(self, descriptor: int) -> str:
        """Names the file and its machine: a copy has another name, unless the disk was cloned."""

    def close(self, descriptor: int) -> None:
        """Close, and give up the lock if it is one."""


class SystemFiles:
    """The machine's own files, checked as this module's heading says."""

    def lock(self, path: Path) -> int:
        check_directory(path.parent)
        with contextlib.suppress(FileExistsError):
            os.close(create_private(path))
        descriptor = open_private(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.pread(descriptor, 20, 0).strip()
            os.close(descriptor)
            pid = int(text) if text.isdigit() else None
            who = f"process {pid}" if pid else "another process"
            raise StoreLocked(f"{path.parent} is in use by {who}", pid) from None
        os.ftruncate(descriptor, 0)
        with contextlib.suppress(OSError):  # a full disk: the lock holds without a name in it
            os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        return descriptor

    def open(self, path: Path) -> int:
        return open_private(path)

    def create(self, path: Path) -> int:
        path.unlink(missing_ok=True)
        return create_private(path)

    def size(self, descriptor: int) -> int:
        return os.fstat(descriptor).st_size

    def pread(self, descriptor: int, size: int, offset: int) -> bytes:
        return os.pread(descriptor, size, offset)

    def pwrite(self, descriptor: int, data: bytes, offset: int) -> int:
        return os.pwrite(descriptor, data, offset)

    def datasync(self, descriptor: int) -> None:
        sync_data(descriptor)

    def replace(self, source: Path, target: Path) -> None:
        source.replace(target)
        sync_directory(target.parent)

    def names(self, directory: Path) -> list[str]:
        if not directory.exists():
            make_directory(directory)
            for above in (directory.parent, directory.parent.parent):
                sync_directory(above)
        check_directory(directory)
        return sorted(entry.name for entry in directory.iterdir() if not entry.is_dir())

    def remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        sync_directory(path.parent)

    def identity(self, descriptor: int) -> str:
        return f"{machine()}/{os.fstat(descriptor).st_ino}"

    def close(self, descriptor: int) -> None:
        os.close(descriptor)


SYSTEM_FILES = SystemFiles()


def write_all(files: Files, descriptor: int, data: bytes, offset: int) -> None:
    """Write all of `data` at `offset`. A disk that takes nothing at all is an `OSError`, not an endless loop."""
    done = 0
    while done < len(data):
        taken = files.pwrite(descriptor, data[done:] if done else data, offset + done)
        if taken <= 0:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        done += taken


def machine(root: Path = Path("/")) -> str:
    """Names this machine without telling its id; empty where none outlasts a restart. Blocks.

    That of a container is another one with each new container, and one that lies on another disk than its directory
    was made for this boot only.
    """
    file = root / "etc/machine-id"
    try:
        container = any((root / mark).exists() for mark in (".dockerenv", "run/.containerenv"))
        if container or file.stat().st_dev != file.parent.stat().st_dev:
            return ""
        text = file.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
    return hashlib.sha256(b"bearerd " + text.encode()).hexdigest()[:16] if text else ""
