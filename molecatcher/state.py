"""Small values that are made once and kept in the state directory: identities and secrets."""

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from molecatcher.errors import SetupError

SECRET_OCTETS = 32


def kept(path: Path, make: Callable[[], bytes]) -> bytes:
    """Return what the file at `path` holds; the first caller of all processes makes it, readable by its owner only.

    Raises:
        SetupError: the state directory cannot be used.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
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


def _make(path: Path, content: bytes) -> None:
    """Create the file whole or not at all; whoever comes second keeps what the first one wrote."""
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
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
