"""`molecatcher replay`: files in, a table or JSON lines out, a progress bar where a person watches."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from molecatcher.catalogue.folder import CatalogueFolder
from molecatcher.commands.progress import progress_of
from molecatcher.commands.tables import print_detections, print_summary
from molecatcher.processes.collector import spare_collector
from molecatcher.recordings.replay import Replay
from molecatcher.state import make_database
from rules.catalogue.catalogue import Catalogue
from rules.policy.policy import Policy
from rules.policy.ruleset import Ruleset
from rules.values.event import Event
from sensor.errors import CaptureError

if TYPE_CHECKING:
    from db.store import Store
    from molecatcher.settings import Settings


def replay_files(files: list[str], policy_path: Path | None, *, as_json: bool, store_in: "Settings | None") -> int:
    """Replay `files` one after the other and print what was detected; return 1 if one could not be read whole."""
    if store_in:
        make_database(store_in.database)
    catalogue = CatalogueFolder(store_in.state if store_in else None).load()
    policy = read_policy_file(policy_path, catalogue) if policy_path else Policy()
    messages = Console(stderr=True)
    with _opened(store_in) as store:
        keeps_packets = store_in is not None and store_in.evidence
        replay = Replay(Ruleset(catalogue, policy), store, keeps_packets=keeps_packets)
        spare_collector()
        events = _play(replay, files, messages)
        print_detections(events, as_json=as_json)
    print_summary(messages, replay.summary)
    return 1 if replay.summary.failures else 0


def read_policy_file(path: Path, catalogue: Catalogue) -> Policy:
    """Return the policy in the file at `path`.

    Raises:
        RulesError: it cannot be used.
    """
    from molecatcher.live_rules import read_policy  # noqa: PLC0415 - brings the logger, slow to import

    return read_policy(path, catalogue, time.time_ns())


@contextmanager
def _opened(settings: "Settings | None") -> "Iterator[Store | None]":
    if settings is None:
        yield None
        return
    from db.store import open_store  # noqa: PLC0415 - SQLAlchemy doubles the start-up of a replay that does not need it

    with open_store(settings.database, evidence_limit=settings.evidence_mib << 20) as store:
        yield store


def _play(replay: Replay, files: list[str], messages: Console) -> Iterator[Event]:
    for path in files:
        try:
            with progress_of(Path(path).name, messages) as update:
                yield from replay.play(path, update)
        except CaptureError as error:  # the other files are worth reading all the same
            replay.summary.failures.append(str(error))
