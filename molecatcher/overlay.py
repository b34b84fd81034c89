"""What people decided over the API, followed in the database by its revision; without a database the last one stays."""

import threading

import structlog

from db.errors import DbError
from db.workflow.policy import PolicyStore
from molecatcher.background import BackgroundLoop
from rules.policy.overlay import EMPTY, Overlay

log = structlog.get_logger()

LOOK_S = 1.0


class OverlayFollower(BackgroundLoop):
    """Holds the overlay in force, and looks every second; a look costs one row where nothing changed."""

    revision = ""  # as `molecatcher.processes.remote_rules.RemoteRules` has them: nothing is handed out here
    error = ""

    def __init__(self, store: PolicyStore) -> None:
        """Read the overlay.

        Raises:
            DbError: the database cannot be read.
        """
        super().__init__("overlay", LOOK_S)
        self.current: Overlay = EMPTY
        self._store = store
        self._is_away = False
        self._reading = threading.Lock()
        self._read()

    def __call__(self) -> Overlay:
        """Return the overlay in force."""
        return self.current

    def look(self) -> bool:
        """Take up a newer overlay; tell whether the database answered. What was in force stays where it did not."""
        try:
            self._read()
        except DbError as error:
            if not self._is_away:
                log.warning("overlay_kept", reason=str(error), revision=self.current.revision)
            self._is_away = True
            return False
        self._is_away = False
        return True

    def step(self) -> float:
        """Look, and again in a second."""
        self.look()
        return LOOK_S

    def _read(self) -> None:
        with self._reading:
            if self.current is EMPTY or self._store.revision() != self.current.revision:
                self.current = self._store.overlay()
