"""What a sensor is put together from, as its settings say."""

import os
import time
from typing import TYPE_CHECKING

from molecatcher.catalogue.folder import CatalogueFolder
from molecatcher.errors import SetupError
from molecatcher.names.reverse_names import ReverseNames
from molecatcher.names.zone_questions import ZoneQuestions
from molecatcher.settings import Settings
from molecatcher.shared_file import SharedFile
from molecatcher.state import kept
from rules.values.event import uuid7
from rules.values.zones import ZoneAnswer
from sensor.attribution.attributor import Attributor
from sensor.attribution.leases import LeaseFiles
from sensor.attribution.seen_leases import SeenLeases
from sensor.capture.live.namespaces import TO_ENTER, Namespaces, give_up, named_namespaces
from sensor.pipeline import Limits
from sensor.reporting.spool import Spool

if TYPE_CHECKING:
    from molecatcher.processes.remote_rules import RemoteRules
    from molecatcher.processes.remote_sink import RemoteSink


def kept_sensor_id(settings: Settings) -> str:
    """Return the sensor's identity, the same at every start and in every worker.

    Raises:
        SetupError: The state directory cannot be used.
    """
    return kept(settings.state / "sensor_id", lambda: uuid7(time.time_ns()).encode()).decode("ascii")


def lock_name(settings: Settings) -> str:
    """Return the file that says that the sensor, or a worker of it, runs."""
    return "sensor.lock" if settings.worker is None else f"sensor-{settings.worker}.lock"


def enter_namespaces(settings: Settings) -> Namespaces:
    """Return the network namespaces that `settings` name, entered; an ordinary user's right to do so is then given up.

    Raises:
        CaptureError: One cannot be entered.
    """
    namespaces = Namespaces(*sorted(named_namespaces(settings.interface, settings.netns)))
    if os.geteuid():
        give_up(*TO_ENTER)
    return namespaces


def followed_rules(settings: Settings, sensor_id: str, catalogue: CatalogueFolder) -> "RemoteRules | None":
    """Return what follows the rules of the API that events go to, None where the database is here.

    Raises:
        SetupError: not an https address, or no token for it.
    """
    if settings.api is None:
        return None
    from molecatcher.processes.api_client import client_of  # noqa: PLC0415 - see `sink_of`
    from molecatcher.processes.remote_rules import CatalogueTaker, RemoteRules  # noqa: PLC0415

    client = client_of(settings, settings.api)
    taker = CatalogueTaker(client, f"/v1/sensors/{sensor_id}/catalogue", catalogue, settings.catalogue_key)
    return RemoteRules(client, sensor_id, settings.api_rules, taker)


def sink_of(settings: Settings) -> "RemoteSink | None":
    """Return where the settings send events, None for the database here.

    Raises:
        SetupError: not an https address, or no token for it.
    """
    if settings.api is None:
        return None
    from molecatcher.processes.api_client import client_of  # noqa: PLC0415 - TLS, HTTP: 5 MiB that few sensors need
    from molecatcher.processes.remote_sink import RemoteSink  # noqa: PLC0415

    return RemoteSink(client_of(settings, settings.api))


def open_spool(settings: Settings) -> Spool:
    """Return the spool of the sensor, or a worker's part of it.

    Raises:
        SetupError: Its directory cannot be used.
    """
    try:
        return Spool(settings.spool, (settings.spool_mib << 20) // settings.workers, settings.share)
    except OSError as error:
        advice = "give another directory with --state"
        raise SetupError(f"the spool {settings.spool} cannot be used: {error.strerror}; {advice}") from error


def limits_of(settings: Settings, interfaces: int) -> Limits:
    """Return the sizes of the pipeline's tables beside so many interfaces."""
    limits = Limits() if settings.evidence else Limits(kept_octets=0)
    return limits.beside_several_interfaces() if interfaces > 1 else limits


def zone_questions(settings: Settings) -> ZoneQuestions:
    """Return what asks the API's process who serves a zone."""
    questions, answers = settings.zone_questions, settings.zone_answers
    return ZoneQuestions(SharedFile(questions, list[str]), SharedFile(answers, list[ZoneAnswer]))


def attributor_of(settings: Settings, namespaces: Namespaces, seen_leases: SeenLeases) -> Attributor:
    """Return what finds out who is behind a flow."""
    leases = LeaseFiles(settings.leases)
    names = ReverseNames(settings.resolvers).find if settings.reverse_names else lambda _address: None
    return Attributor(namespaces, settings.attribution_socket, leases, seen_leases, names)
