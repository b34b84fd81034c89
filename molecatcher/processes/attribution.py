"""`molecatcher attribute`: the process that may look into others' processes, and answers the sensor's questions."""

import signal
from types import FrameType

import structlog

from molecatcher.errors import SetupError
from molecatcher.logs import configure_logging
from molecatcher.processes.notify import Notifier
from molecatcher.settings import Settings
from molecatcher.state import claim
from sensor.attribution.process_service import ProcessService

log = structlog.get_logger()


class AttributionProcess:
    """Answers below the state directory until told to stop."""

    def __init__(self, settings: Settings) -> None:
        """Make the socket; one that was left behind is replaced, so nobody else may be answering at it.

        Raises:
            SetupError: the state directory cannot be used, or another of these runs on it.
        """
        path = settings.attribution_socket
        claim(path.with_suffix(".lock"))
        try:
            self._service = ProcessService(path)
        except OSError as error:
            raise SetupError(f"{path} cannot be used: {error.strerror}; give another directory with --state") from error
        self._is_stopping = False

    def stop(self, _signal: int = 0, _frame: FrameType | None = None) -> None:
        """End after the current turn (a signal handler)."""
        self._is_stopping = True

    def run(self, notifier: Notifier) -> None:
        """Answer until told to stop."""
        log.info("attribution_started")
        notifier.ready()
        while not self._is_stopping:
            self._service.turn()
            notifier.alive()
        notifier.stopping()
        self._service.close()


def run(settings: Settings) -> None:
    """Answer in this process until SIGTERM or SIGINT; SIGHUP means nothing to it."""
    configure_logging()
    process = AttributionProcess(settings)
    signal.signal(signal.SIGTERM, process.stop)
    signal.signal(signal.SIGINT, process.stop)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    process.run(Notifier())
