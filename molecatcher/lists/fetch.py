"""Pulls a list for a program that cannot pull by itself: whole, checked, swapped in at once, and otherwise not at all.

Beside the file `NAME` lies `NAME.state`: what was pulled, and whether the hook still has to run. A file that somebody
changed since is pulled again.
"""

import hashlib
import http.client
import os
import shlex
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import msgspec

from molecatcher import __version__
from molecatcher.errors import FetchError
from molecatcher.web_address import is_private, split_address

MAX_OCTETS = 256 * 1024 * 1024
MAX_DIGITS = 18  # of a serial: more would be no number of 64 bits
TIMEOUT_S = 30.0
HOOK_TIMEOUT_S = 60.0
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC  # follows no link


class PullState(msgspec.Struct, frozen=True):
    """What the file holds: the entity tag and serial it came with, its SHA-256; `hook_pending`: the hook has to run."""

    etag: str = ""
    serial: int = 0
    sha256: str = ""
    hook_pending: bool = False


@dataclass(frozen=True, slots=True)
class Pull:
    """Which list goes into which file. `hook` is run without a shell when the file has changed."""

    url: str
    output: Path
    token: str = ""
    hook: str = ""

    def __post_init__(self) -> None:
        """Refuse an address that would give the token away."""
        parts = split_address(self.url)
        if parts is None:
            raise FetchError(f"{self.url!r} is no address: give https://HOST:PORT/feeds/LIST.FORMAT")
        if self.token and not is_private(parts):
            raise FetchError(f"the token is not sent to {parts.hostname} in the clear: give an https address")

    def run(self) -> bool:
        """Bring the file up to date and tell whether it changed.

        Raises:
            FetchError: it could not be, or the hook failed; the file is the old one or the new one, never a part.
        """
        state = self._state()
        found = self._get(self.url, {"If-None-Match": state.etag} if state.etag else {})
        if found is None:
            self._run_hook(state)
            return False
        body, headers = found
        newer = self._checked(body, headers, state)
        replace_whole(self.output, body)
        self._keep(newer)
        self._run_hook(newer)
        return newer.sha256 != state.sha256

    def _state(self) -> PullState:
        """Return the state, an empty one when the file is not what was pulled."""
        try:
            state = msgspec.json.decode(self._state_path.read_bytes(), type=PullState)
            is_whole = hashlib.sha256(self.output.read_bytes()).hexdigest() == state.sha256
        except (OSError, msgspec.MsgspecError):
            return PullState()
        return state if is_whole else PullState(serial=state.serial)

    @property
    def _state_path(self) -> Path:
        return self.output.with_name(f"{self.output.name}.state")

    def _keep(self, state: PullState) -> None:
        replace_whole(self._state_path, msgspec.json.encode(state))

    def _checked(self, body: bytes, headers: Message, state: PullState) -> PullState:
        """Return the state with this body when it is a list, whole, and not an older one."""
        kind, serial = headers.get_content_type(), headers.get("X-Feed-Serial", "")
        if kind == "text/html" or body[:512].lstrip().lower().startswith((b"<!doctype", b"<html")):
            raise FetchError("the answer is a web page, no list; the file stays as it is")
        if not body.strip():
            raise FetchError("the answer is empty; the file stays as it is")
        if not serial.isdecimal() or len(serial) > MAX_DIGITS:
            raise FetchError("the answer has no X-Feed-Serial, so it is no list of ours; the file stays as it is")
        if int(serial) < state.serial:
            raise FetchError(f"the list has serial {serial} and the file {state.serial}; the file stays as it is")
        digest = hashlib.sha256(body).hexdigest()
        parts = urlsplit(self.url)
        sibling = self._get(urlunsplit(parts._replace(path=f"{parts.path}.sha256")), {})
        if sibling is None or sibling[0].strip() != digest.encode():
            raise FetchError("the list does not have its checksum, or has just changed; the file stays as it is")
        return PullState(headers.get("ETag", ""), int(serial), digest, bool(self.hook))

    def _get(self, url: str, headers: Mapping[str, str]) -> tuple[bytes, Message] | None:
        """Return body and headers of 200, None for 304 where `headers` asked whether there is something new."""
        common = {"User-Agent": f"molecatcher-fetch/{__version__}", "Accept-Encoding": "identity"}
        bearer = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        request = urllib.request.Request(url, headers={**common, **bearer, **headers})  # noqa: S310 - checked above
        try:
            with urllib.request.build_opener(_NoRedirect).open(request, timeout=TIMEOUT_S) as answer:
                body = answer.read(MAX_OCTETS + 1)
                length = int(answer.headers.get("Content-Length") or len(body))
        except urllib.error.HTTPError as error:
            if error.code == HTTPStatus.NOT_MODIFIED and headers:
                return None
            raise FetchError(f"the server answered {error.code} {error.reason}; the file stays as it is") from None
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise FetchError(f"the list could not be had ({error}); the file stays as it is") from None
        if len(body) > MAX_OCTETS or length != len(body):
            raise FetchError("the answer is cut off or too long; the file stays as it is")
        return body, answer.headers

    def _run_hook(self, state: PullState) -> None:
        if not self.hook or not state.hook_pending:
            return
        try:
            subprocess.run(shlex.split(self.hook), check=True, timeout=HOOK_TIMEOUT_S)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            raise FetchError(f"{self.output} is new, but the hook failed and will be run again: {error}") from None
        self._keep(msgspec.structs.replace(state, hook_pending=False))


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is an error: our server has none, and the token is for nobody else."""

    def redirect_request(self, *_request: object) -> None:
        """Follow nothing."""


def replace_whole(path: Path, content: bytes) -> None:
    """Replace a file so that any reader sees the old or the new one, also after a loss of power; its mode stays.

    Raises:
        FetchError: the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
        temporary.unlink(missing_ok=True)
        with os.fdopen(os.open(temporary, _NEW_FILE, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise FetchError(f"{path} cannot be written: {error.strerror}") from None
