"""The rules in force, reloaded when the policy file changes or on request; a broken new policy keeps the old one."""

import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path

import structlog

from rules.catalogue import Catalogue
from rules.errors import InvalidPolicy
from rules.overlay import EMPTY, Overlay, apply_overlay
from rules.policy import Policy, parse_policy
from rules.ruleset import Ruleset

log = structlog.get_logger()

EMPTY_DIGEST = hashlib.sha256(b"").hexdigest()
Stamp = tuple[int, int, int, int]


def read_policy(path: Path, catalogue: Catalogue, now_ns: int) -> Policy:
    """Return the policy in the file at `path`.

    Raises:
        InvalidPolicy: the file cannot be read or used; the message says what to do.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidPolicy(f"{path} cannot be read: {error.strerror}; give a readable file with --policy") from error
    except UnicodeDecodeError as error:
        raise InvalidPolicy(f"{path} is not UTF-8 text (octet {error.start}): save it as UTF-8") from error
    return parse_policy(text, str(path), catalogue, now_ns)


class LiveRules:
    """Holds the `Ruleset` in force: the policy file with the overlay over it.

    `poll` costs one `stat`; a reload swaps one reference. Several threads may call.
    """

    def __init__(self, catalogue: Catalogue, path: Path | None, now_ns: Callable[[], int]) -> None:
        """Load the policy.

        Raises:
            InvalidPolicy: the file cannot be read or used.
        """
        self.path = path
        self.error = ""
        self._now_ns = now_ns
        self._overlay: Callable[[], Overlay] = lambda: EMPTY
        self._laid: Overlay = EMPTY
        self._changing = threading.Lock()
        self._stamp = _stamp(path)
        self._file = read_policy(path, catalogue, now_ns()) if path else Policy()
        self.current = Ruleset(catalogue, self._file)
        self.loaded_at_ns = now_ns()
        _log_warnings(self._file)

    def follow(self, overlay: Callable[[], Overlay]) -> None:
        """Lay `overlay` over the file from now on; it is asked at each `poll` and must answer at once."""
        self._overlay = overlay
        with self._changing:
            self._lay()

    def __call__(self) -> Ruleset:
        """Return the rules in force."""
        return self.current

    def poll(self) -> bool:
        """Reload what changed since the last look, file or overlay; tell whether other rules are now in force."""
        stamp = _stamp(self.path)
        if stamp == self._stamp and self._overlay() is self._laid:
            return False
        if stamp == self._stamp:
            with self._changing:
                return self._lay()
        self._stamp = stamp
        return self.reload()

    def reload(self) -> bool:
        """Read the file again; tell whether other rules are now in force. On an error the old ones stay."""
        with self._changing:
            is_read = self.path is not None and self._read(self.path)
            return self._lay() or is_read

    def _read(self, path: Path) -> bool:
        try:
            policy = read_policy(path, self.current.catalogue, self._now_ns())
            _refuse_empty(path, policy, self._file)
        except InvalidPolicy as error:
            self.error = str(error)
            log.warning("policy_refused", error=self.error, in_force=self._file.digest[:12])
            return False
        self.error = ""
        has_changed = policy != self._file
        self._file = policy
        self.loaded_at_ns = self._now_ns()
        log.info("policy_loaded", path=str(path), sanctioned=len(policy.sanctions), digest=policy.digest[:12])
        _log_warnings(policy)
        return has_changed

    def _lay(self) -> bool:
        """Put file and overlay in force; tell whether that differs from what was."""
        overlay, catalogue = self._overlay(), self.current.catalogue
        policy = apply_overlay(self._file, overlay, catalogue, self._now_ns()) if overlay is not EMPTY else self._file
        has_changed = policy != self.current.policy
        if overlay is not self._laid:
            log.info("overlay_in_force", revision=overlay.revision, exceptions=len(overlay.exceptions))
            for warning in policy.warnings[len(self._file.warnings) :]:
                log.warning("policy_warning", warning=warning)
        self._laid = overlay
        self.current = Ruleset(catalogue, policy)
        return has_changed


def _refuse_empty(path: Path, policy: Policy, in_force: Policy) -> None:
    """Refuse a file of no octets in place of one that says something: so one looks while it is being written.

    Raises:
        InvalidPolicy: it is so.
    """
    says_something = in_force.sanctions or in_force.exceptions or in_force.decisions
    if says_something and policy.digest == EMPTY_DIGEST:
        raise InvalidPolicy(f"{path} is empty: write a comment into it if nothing is to be sanctioned any more")


def _stamp(path: Path | None) -> Stamp | None:
    if path is None:
        return None
    try:
        found = os.stat(path)  # noqa: PTH116 - called every second: no Path object needed
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino  # ctime: its mode may have been the fault


def _log_warnings(policy: Policy) -> None:
    for warning in policy.warnings:
        log.warning("policy_warning", warning=warning)
