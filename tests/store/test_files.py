"""Files that only their owner may touch: made private under any umask, refused if anybody could have had them."""

import errno
import os
import resource
import socket
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.store import StoreLocked, UnsafeFile
from proxy.store.disk import MemoryDisk
from proxy.store.files import (
    SYSTEM_FILES,
    check_directory,
    check_file,
    create_private,
    machine,
    make_directory,
    open_private,
    read_private,
    read_provided,
    write_all,
    write_private,
)

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o777], ids=lambda mask: f"umask {mask:03o}")
def _umask(request: pytest.FixtureRequest) -> Iterator[None]:
    old = os.umask(request.param)
    yield
    os.umask(old)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def file(state_dir: Path) -> Path:
    path = state_dir / "file"
    os.close(create_private(path))
    return path


@pytest.mark.usefixtures("_umask")
@pytest.mark.parametrize("replace", [False, True])
def test_new_files_are_private_under_any_umask(state_dir: Path, replace: bool) -> None:
    """0600, neither wider nor narrower."""
    write_private(state_dir / "file", b"x", replace=replace)

    assert (0o600, b"x") == (mode(state_dir / "file"), read_private(state_dir / "file"))
    assert ["file"] == [path.name for path in state_dir.iterdir()]


def test_new_directories_are_private(state_dir: Path) -> None:
    """0700 under umask 0, with all that is missing above it; an existing one is only checked."""
    old = os.umask(0)
    try:
        make_directory(state_dir / "above" / "between" / "made")
    finally:
        os.umask(old)
    make_directory(state_dir / "above" / "between" / "made")

    made = [state_dir / "above", state_dir / "above/between", state_dir / "above/between/made"]
    assert [0o700] * 3 == [mode(path) for path in made]


@pytest.mark.parametrize("wider", [0o644, 0o640, 0o660, 0o604, 0o601, 0o666])
def test_a_wider_file_is_refused_with_the_chmod_that_helps(file: Path, wider: int) -> None:
    """One line: which file, which mode, which command."""
    file.chmod(wider)

    with pytest.raises(UnsafeFile) as caught:
        open_private(file)
    assert f"{file} is open to other users (mode {wider:04o}); run: chmod 600 {file}" == str(caught.value)


def test_a_symbolic_link_is_refused(state_dir: Path, file: Path) -> None:
    """Even one to a private file of ours."""
    (state_dir / "link").symlink_to(file)

    with pytest.raises(UnsafeFile, match="symbolic link"):
        open_private(state_dir / "link")
    with pytest.raises(UnsafeFile, match="symbolic link"):
        check_file(state_dir / "link", (state_dir / "link").lstat())


def test_a_hard_link_is_refused(state_dir: Path, file: Path) -> None:
    """Two names for one file."""
    (state_dir / "second").hardlink_to(file)

    with pytest.raises(UnsafeFile, match="2 names"):
        open_private(file)


@as_root
def test_the_file_of_another_user_is_refused(file: Path) -> None:
    """Whoever owns it may change its mode."""
    os.chown(file, 12345, -1)

    with pytest.raises(UnsafeFile, match=r"another user \(uid 12345\); run: chown"):
        open_private(file)


def test_what_is_no_file_is_refused_and_does_not_hang(state_dir: Path) -> None:
    """A FIFO, a directory, a socket."""
    os.mkfifo(state_dir / "fifo", 0o600)
    (state_dir / "directory").mkdir(0o700)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(state_dir / "socket"))

    with pytest.raises(UnsafeFile, match="not a regular file"):
        open_private(state_dir / "fifo")
    with pytest.raises(UnsafeFile, match="not a regular file"):
        open_private(state_dir / "directory", os.O_RDONLY)
    with pytest.raises((UnsafeFile, OSError)):
        open_private(state_dir / "socket")


def test_a_missing_file_is_not_found(state_dir: Path) -> None:
    """No refusal of ours."""
    with pytest.raises(FileNotFoundError):
        open_private(state_dir / "none")


@pytest.mark.parametrize(("wider", "private"), [(0o777, True), (0o755, True), (0o710, True), (0o777, False)])
def test_a_wider_directory_is_refused(state_dir: Path, wider: int, private: bool) -> None:
    """A state directory must be 0700; one that holds only a key must not be writable by others."""
    state_dir.chmod(wider)

    with pytest.raises(UnsafeFile, match=f"run: chmod {'700' if private else 'go-w'} {state_dir}"):
        check_directory(state_dir, private=private)


def test_a_readable_directory_may_hold_a_key(state_dir: Path) -> None:
    """0755 is fine for a directory of configuration."""
    state_dir.chmod(0o755)

    check_directory(state_dir, private=False)


@as_root
def test_the_directory_of_another_user_is_refused(state_dir: Path) -> None:
    """Its owner could put another file in place."""
    (state_dir / "d").mkdir(0o700)
    os.chown(state_dir / "d", 12345, -1)

    with pytest.raises(UnsafeFile, match="another user"):
        check_directory(state_dir / "d")


def test_a_file_is_no_directory(file: Path) -> None:
    """Told as such."""
    with pytest.raises(UnsafeFile, match="not a directory"):
        check_directory(file)


def test_writing_does_not_replace_unless_asked(file: Path) -> None:
    """A key file that is there stays."""
    with pytest.raises(FileExistsError):
        write_private(file, b"new")
    assert b"" == read_private(file)
    write_private(file, b"new", replace=True)
    assert b"new" == read_private(file)


def test_a_provided_secret_may_be_a_link_or_group_readable(state_dir: Path, file: Path) -> None:
    """That is how service managers lay secrets out; others must still not read it."""
    write_private(file, b"s", replace=True)
    (state_dir / "link").symlink_to(file)
    file.chmod(0o440)
    assert b"s" == read_provided(state_dir / "link")

    for wider in (0o644, 0o620):
        file.chmod(wider)
        with pytest.raises(UnsafeFile, match="chmod 400"):
            read_provided(file)
    with pytest.raises(UnsafeFile, match="not a regular file"):
        read_provided(state_dir)


@as_root
def test_a_provided_secret_of_a_third_user_is_refused(file: Path) -> None:
    """Only root and we may own it."""
    os.chown(file, 12345, -1)

    with pytest.raises(UnsafeFile, match="another user"):
        read_provided(file)


def test_a_lock_tells_its_holder(state_dir: Path) -> None:
    """The process id is in the lock file, which stays after the lock is given up."""
    path = state_dir / "lock"
    held = SYSTEM_FILES.lock(path)
    with pytest.raises(StoreLocked) as caught:
        SYSTEM_FILES.lock(path)
    assert os.getpid() == caught.value.holder_pid
    SYSTEM_FILES.close(held)

    SYSTEM_FILES.close(SYSTEM_FILES.lock(path))
    assert f"{os.getpid()}\n" == path.read_text()


def test_a_disk_that_is_full_does_not_keep_the_lock_from_its_holder(state_dir: Path) -> None:
    """What is in the file is for people only; the process id of an earlier holder must not be told as ours."""
    path = state_dir / "lock"
    SYSTEM_FILES.close(SYSTEM_FILES.lock(path))
    before, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, most))  # every write fails, as on a full disk
    try:
        held = SYSTEM_FILES.lock(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, most))

    with pytest.raises(StoreLocked, match="another process"):
        SYSTEM_FILES.lock(path)
    SYSTEM_FILES.close(held)


def test_a_lock_in_a_wider_directory_is_refused(state_dir: Path) -> None:
    """Whoever may rename files there could take the lock along."""
    state_dir.chmod(0o755)

    with pytest.raises(UnsafeFile, match="chmod 700"):
        SYSTEM_FILES.lock(state_dir / "lock")


def test_a_lock_whose_holder_cannot_be_read_is_still_taken(state_dir: Path) -> None:
    """Junk in the file costs the process id only."""
    path = state_dir / "lock"
    held = SYSTEM_FILES.lock(path)
    path.write_text("junk")

    with pytest.raises(StoreLocked, match="another process") as caught:
        SYSTEM_FILES.lock(path)
    assert caught.value.holder_pid is None
    SYSTEM_FILES.close(held)


def test_system_files_do_what_their_interface_says(state_dir: Path) -> None:
    """Create in the place of an old one, write, read, sync, rename, open."""
    draft, path = state_dir / "draft", state_dir / "file"
    draft.write_text("old")
    made = SYSTEM_FILES.create(draft)
    assert 3 == SYSTEM_FILES.pwrite(made, b"abc", 2)
    SYSTEM_FILES.datasync(made)
    SYSTEM_FILES.replace(draft, path)
    SYSTEM_FILES.close(made)

    opened = SYSTEM_FILES.open(path)
    assert (5, b"\0\0abc") == (SYSTEM_FILES.size(opened), SYSTEM_FILES.pread(opened, 9, 0))
    SYSTEM_FILES.close(opened)


def test_a_disk_that_takes_nothing_is_an_error() -> None:
    """Not an endless loop."""
    disk = MemoryDisk()
    file = disk.create(Path("/f"))
    disk.short = 0

    with pytest.raises(OSError, match="Input/output") as caught:
        write_all(disk, file, b"x", 0)
    assert errno.EIO == caught.value.errno


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The root of a machine with an id."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    return tmp_path


def test_a_machine_has_a_name_that_does_not_tell_its_id(root: Path) -> None:
    """The same one each time, and another for another machine."""
    name = machine(root)
    assert (16, name) == (len(name), machine(root))
    assert name not in (root / "etc/machine-id").read_text()

    (root / "etc/machine-id").write_text("f" * 32)
    assert name != machine(root)


@pytest.mark.parametrize("mark", [".dockerenv", "run/.containerenv"])
def test_a_container_has_no_name_that_lasts(root: Path, mark: str) -> None:
    """The next one on the same volume would be taken for another machine."""
    (root / mark).parent.mkdir(exist_ok=True)
    (root / mark).touch()
    assert "" == machine(root)


def test_a_machine_without_an_id_has_no_name(root: Path) -> None:
    """An empty file or none, as in images."""
    (root / "etc/machine-id").write_text("\n")
    assert "" == machine(root)
    (root / "etc/machine-id").unlink()
    assert "" == machine(root)


@pytest.mark.skipif(sys.platform != "linux", reason="it needs a second file system that is always there")
def test_an_id_that_was_made_for_one_boot_does_not_count(root: Path) -> None:
    """It lies on another file system, as systemd puts it where nothing can be written."""
    (root / "etc/machine-id").unlink()
    (root / "etc/machine-id").symlink_to("/proc/sys/kernel/random/boot_id")
    assert "" == machine(root)
