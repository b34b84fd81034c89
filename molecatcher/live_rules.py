"""The rules in force, reloaded when policy or catalogue change or on request; what is broken keeps the old ones."""

import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

import structlog

from rules.catalogue.catalogue import Catalogue
from rules.errors import InvalidCatalogue, InvalidPolicy
from rules.policy.overlay import EMPTY, Overlay, apply_overlay
from rules.policy.policy import Policy
from rules.policy.reader import parse_policy
from rules.policy.ruleset import Ruleset

log = structlog.get_logger()

EMPTY_DIGEST = hashlib.sha256(b"").hexdigest()


class Stamp(NamedTuple):
    """What tells a file from what it was; `ctime_ns` because its mode may have been the fault."""

    mtime_ns: int
    ctime_ns: int
    octets: int
    inode: int


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


class CatalogueSource(Protocol):
    """Where the catalogue comes from (`molecatcher.catalogue.folder`)."""

    def load(self) -> Catalogue:
        """Return the catalogue in force, or raise InvalidCatalogue."""

    def stamp(self) -> object:
        """Return what changes when the catalogue may have."""


class LiveRules:
    """Holds the `Ruleset` in force: the policy file with the overlay over it, under the catalogue.

    `poll` costs a `stat` for each file; a reload swaps one reference. Several threads may call.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        path: Path | None,
        now_ns: Callable[[], int],
        source: CatalogueSource | None = None,
    ) -> None:
        """Load the policy; `catalogue` is what `source` holds, and stays for good where there is none.

        Raises:
            InvalidPolicy: the file cannot be read or used.
        """
        self.path = path
        self.error = ""
        self._now_ns = now_ns
        self._source = source
        self._overlay: Callable[[], Overlay] = lambda: EMPTY
        self._laid: Overlay = EMPTY
        self._changing = threading.Lock()
        self._stamp = stamp_of(path)
        self._catalogue_stamp = source.stamp() if source else None
        self._file = read_policy(path, catalogue, now_ns()) if path else Policy()
        self.current = Ruleset(catalogue, self._file)
        self.loaded_at_ns = now_ns()
        _log_warnings(self._file)

    def follow(self, overlay: Callable[[], Overlay]) -> None:
        """Lay `overlay` over the file from now on; it is asked at each `poll` and must answer at once."""
        self._overlay = overlay
        with self._changing:
            self._lay(self.current.catalogue)

    def __call__(self) -> Ruleset:
        """Return the rules in force."""
        return self.current

    def poll(self) -> bool:
        """Reload what changed since the last look, a file or the overlay; tell whether other rules are now in force."""
        stamp = stamp_of(self.path)
        if stamp != self._stamp or self._is_catalogue_changed():
            self._stamp = stamp
            return self.reload()
        if self._overlay() is self._laid:
            return False
        with self._changing:
            return self._lay(self.current.catalogue)

    def reload(self) -> bool:
        """Read the files again; tell whether other rules are now in force. On an error the old ones stay."""
        with self._changing:
            return self._lay(self._read())

    def _read(self) -> Catalogue:
        """Take up the policy file, and return the catalogue; where one cannot be used, both stay as they are."""
        before, catalogue = self._file, self.current.catalogue
        try:
            catalogue = self._read_catalogue()
            policy = read_policy(self.path, catalogue, self._now_ns()) if self.path else before
            if self.path:
                _refuse_empty(self.path, policy, before)
        except (InvalidPolicy, InvalidCatalogue) as error:
            self.error, catalogue = str(error), self.current.catalogue
            what = "policy_refused" if isinstance(error, InvalidPolicy) else "catalogue_refused"
            log.warning(what, error=self.error, in_force=before.digest[:12], catalogue=catalogue.version)
            return catalogue
        self.error, self._file = "", policy
        self.loaded_at_ns = self._now_ns()
        if catalogue is not self.current.catalogue:
            log.info("catalogue_loaded", version=catalogue.version, services=len(catalogue.services))
        if self.path:
            log.info("policy_loaded", path=str(self.path), sanctioned=len(policy.sanctions), digest=policy.digest[:12])
        _log_warnings(policy)
        return catalogue

    def _lay(self, catalogue: Catalogue) -> bool:
        """Put the file with the overlay in force; tell whether that differs from what was."""
        before, overlay = self.current, self._overlay()
        policy = apply_overlay(self._file, overlay, catalogue, self._now_ns()) if overlay is not EMPTY else self._file
        if overlay is not self._laid:
            log.info("overlay_in_force", revision=overlay.revision, exceptions=len(overlay.exceptions))
            for warning in policy.warnings[len(self._file.warnings) :]:
                log.warning("policy_warning", warning=warning)
        self._laid = overlay
        self.current = Ruleset(catalogue, policy)
        return policy != before.policy or catalogue is not before.catalogue

    def _is_catalogue_changed(self) -> bool:
        return self._source is not None and self._source.stamp() != self._catalogue_stamp

    def _read_catalogue(self) -> Catalogue:
        """Return the catalogue, the one in force unless its files changed or could not be used before."""
        if self._source is None:
            return self.current.catalogue
        stamp = self._source.stamp()
        if stamp == self._catalogue_stamp and not self.error:
            return self.current.catalogue
        self._catalogue_stamp = stamp
        return self._source.load()


def _refuse_empty(path: Path, policy: Policy, in_force: Policy) -> None:
    """Refuse a file of no octets in place of one that says something: so one looks while it is being written.

    Raises:
        InvalidPolicy: it is so.
    """
    says_something = in_force.sanctions or in_force.exceptions or in_force.decisions
    if says_something and policy.digest == EMPTY_DIGEST:
        raise InvalidPolicy(f"{path} is empty: write a comment into it if nothing is to be sanctioned any more")


def stamp_of(path: Path | None) -> Stamp | None:
    """Return what changes when the file at `path` may have, None where there is none."""
    if path is None:
        return None
    try:
        found = os.stat(path)  # noqa: PTH116 - called every second: no Path object needed
    except OSError:
        return None
    return Stamp(found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)


def _log_warnings(policy: Policy) -> None:
    for warning in policy.warnings:
        log.warning("policy_warning", warning=warning)
