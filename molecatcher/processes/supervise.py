"""`molecatcher run`: sensor and API as processes of this one, each with just the rights it needs.

The sensor keeps CAP_NET_RAW and CAP_BPF, the API keeps no capability; a third process, which names other users'
processes to the sensor, has CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH, and runs only where this one may give them to it.
This process has all of those, and the rights to enter other network namespaces if the sensor is to listen there. A
process that ends is started again; one that cannot start ends the program with its own sentence. When this process is
killed, all end with it.
"""

import json
import signal
import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType

import structlog

from molecatcher.access_file import plan_listening
from molecatcher.catalogue.folder import CatalogueFolder
from molecatcher.live_rules import read_policy
from molecatcher.logs import configure_logging
from molecatcher.privileges import (
    attribution_rights,
    capture_rights,
    give_up_root,
    with_capture_rights,
    with_rights,
    without_rights,
)
from molecatcher.processes.child import Child, inherited_environment
from molecatcher.processes.notify import Notifier
from molecatcher.settings import Settings
from sensor.capture.live.tap import check_permission

log = structlog.get_logger()

LOOK_S = 0.1
FINISH_S = 10.0
PROGRAM = (sys.executable, "-P", "-m", "molecatcher")


class Supervisor:
    """Keeps `children` running until told to stop; then they have `finish_s` to end.

    `on_ready` is called once, when all are ready for the first time, `on_turn` every `LOOK_S`.
    """

    def __init__(
        self,
        children: Sequence[Child],
        on_ready: Callable[[], None],
        on_turn: Callable[[], None] = lambda: None,
        finish_s: float = FINISH_S,
    ) -> None:
        self._children = children
        self._on_ready = on_ready
        self._on_turn = on_turn
        self._finish_s = finish_s
        self._is_stopping = False

    def run(self, notifier: Notifier) -> int:
        """Run until SIGTERM or SIGINT (0), or until a process could not start (its exit status)."""
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        signal.signal(signal.SIGHUP, self._pass_on)
        status = self._watch(notifier)
        notifier.stopping()
        for child in self._children:
            child.send(signal.SIGTERM)
        for child in self._children:
            child.finish(self._finish_s)
        return status

    def _watch(self, notifier: Notifier) -> int:
        is_announced = False
        while not self._is_stopping:
            for child in self._children:
                if status := child.watch():
                    return status
            if all(child.is_ready for child in self._children):
                if not is_announced:
                    self._on_ready()
                    notifier.ready()
                    is_announced = True
                notifier.alive()
            self._on_turn()
            time.sleep(LOOK_S)
        return 0

    def _stop(self, _signal: int, _frame: FrameType | None) -> None:
        self._is_stopping = True

    def _pass_on(self, number: int, _frame: FrameType | None) -> None:
        for child in self._children:
            if child.is_ready:  # one that starts reads the policy anyway, and would die of SIGHUP
                child.send(signal.Signals(number))


def run(settings: Settings) -> int:
    """Run the main job and return the exit status; as root, continue as an ordinary user.

    Raises:
        RulesError, ApiError, CaptureError: the policy, the listen address or the rights of this process are of no use.
    """
    configure_logging()
    catalogue = CatalogueFolder(settings.state, settings.catalogue_dir).load()
    if settings.policy is not None:
        read_policy(settings.policy, catalogue, time.time_ns())
    certificate = plan_listening(settings)[2]
    check_permission()
    give_up_root(settings)
    page = f"{'https' if certificate else 'http'}://{settings.listen}/"
    return Supervisor(_children(settings), lambda: log.info("ready", page=page)).run(Notifier())


def _children(settings: Settings) -> tuple[Child, ...]:
    environment = inherited_environment(as_environment(settings))
    rights = attribution_rights()
    attribution = Child("attribution", with_rights([*PROGRAM, "attribute"], rights), environment)
    return (
        *([attribution] if rights else []),
        Child("sensor", with_capture_rights([*PROGRAM, "sensor"], capture_rights(settings)), environment),
        Child("api", without_rights([*PROGRAM, "serve"]), environment),
    )


def as_environment(settings: Settings) -> dict[str, str]:
    """Return the environment that gives another process of ours the same settings."""
    values = settings.model_dump(mode="json", exclude_none=True)
    return {
        f"MOLECATCHER_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
        for name, value in values.items()
    }
