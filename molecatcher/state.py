"""What the state directory holds beside the data: small values that are made once, and who may use the directory."""

import fcntl
import os
import pwd
import secrets
import time
from collections.abc import Callable
from pathlib import Path

from molecatcher.errors import SetupError

SYSTEM_STATE = Path("/var/lib/molecatcher")
SERVICE_USER = "molecatcher"
SECRET_OCTETS = 32
CLAIM_WAIT_S = 10.0
CLAIM_LOOK_S = 0.1


def default_state() -> Path:
    """Return the state directory: the system's for root and for services, the user's own otherwise."""
    if os.geteuid() == 0:
        return SYSTEM_STATE
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "molecatcher"


def make_state(state: Path) -> None:
    """Make the state directory if there is none.

    Raises:
        SetupError: it cannot be made.
    """
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise SetupError(f"{state} cannot be used: {error.strerror}; give another directory with --state") from error


def make_service_state(state: Path) -> None:
    """Make the state directory if there is none; made by root it is the service user's, as the program would make it.

    Raises:
        SetupError: it cannot be made.
    """
    if state.exists():
        return
    make_state(state)
    if os.geteuid() == 0:
        try:
            user = pwd.getpwnam(os.environ.get("MOLECATCHER_USER", SERVICE_USER))
        except KeyError:
            return
        os.chown(state, user.pw_uid, user.pw_gid)


def make_database(database: Path) -> None:
    """Make the database's file and the state directory, if there are none, as the program would make them.

    SQLite keeps an owner for the files that it puts beside it, so root may open it before and while a service does.

    Raises:
        SetupError: they cannot be made.
    """
    make_service_state(database.parent)
    try:
        os.close(os.open(database, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        give(database, database.parent)
    except FileExistsError:
        return
    except OSError as error:
        raise SetupError(f"{database} cannot be made: {error.strerror}; give another directory with --state") from error


def give(path: Path, state: Path) -> None:
    """Let the owner of the state directory own what root makes there."""
    owner = state.stat()
    if os.geteuid() == 0 and owner.st_uid != 0:
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def kept(path: Path, make: Callable[[], bytes]) -> bytes:
    """Return what the file at `path` holds; the first caller of all processes makes it, readable by its owner only.

    Raises:
        SetupError: the state directory cannot be used.
    """
    make_state(path.parent)
    try:
        if not path.exists():
            _make(path, make())
        return path.read_bytes()
    except OSError as error:
        raise SetupError(f"{path} cannot be used: {error.strerror}; give another directory with --state") from error


def kept_secret(path: Path) -> bytes:
    """Return 32 secret octets, the same at every start.

    Raises:
        SetupError: the state directory cannot be used.
    """
    return kept(path, lambda: secrets.token_bytes(SECRET_OCTETS))


def claim(path: Path, wait_s: float = CLAIM_WAIT_S) -> int:
    """Return a descriptor that makes the file at `path` this process's own until it ends, however it ends.

    Two sensors would number their spool files alike and lose each other's events. One that is about to end is waited
    for, `wait_s` at most.

    Raises:
        SetupError: another process has it, or the state directory cannot be used.
    """
    make_state(path.parent)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SetupError(f"{path} cannot be used: {error.strerror}; give another directory with --state") from error
    until_s = time.monotonic() + wait_s
    while not _is_locked(descriptor):
        if time.monotonic() >= until_s:
            os.close(descriptor)
            raise SetupError(f"another {path.stem} runs on {path.parent}: stop it, or give another --state")
        time.sleep(CLAIM_LOOK_S)
    return descriptor


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _make(path: Path, content: bytes) -> None:
    """Create the file whole or not at all; whoever comes second keeps what the first one wrote."""
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass
    finally:
        temporary.unlink()
