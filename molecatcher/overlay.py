"""What people decided over the API, followed in the database by its revision; without a database the last one stays."""

import threading

import structlog

from db.errors import DbError
from db.policy_store import PolicyStore
from rules.overlay import EMPTY, Overlay

log = structlog.get_logger()

LOOK_S = 1.0


class OverlayFollower:
    """Holds the overlay in force. A look costs one row where nothing changed; a thread of its own looks."""

    revision = ""  # as `molecatcher.processes.remote_rules.RemoteRules` has them: nothing is handed out here
    error = ""

    def __init__(self, store: PolicyStore) -> None:
        """Read the overlay.

        Raises:
            DbError: the database cannot be read.
        """
        self.current: Overlay = EMPTY
        self._store = store
        self._is_away = False
        self._reading = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="overlay", daemon=True)
        self._read()

    def __call__(self) -> Overlay:
        """Return the overlay in force."""
        return self.current

    @property
    def is_alive(self) -> bool:
        """Tell whether the thread runs; without it changes are not noticed."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to look every second."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()

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

    def _read(self) -> None:
        with self._reading:
            if self.current is EMPTY or self._store.revision() != self.current.revision:
                self.current = self._store.overlay()

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_S):
            self.look()
