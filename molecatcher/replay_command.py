"""`molecatcher replay`: files in, a table or JSON lines out, a progress bar where a person watches."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from db.store import Store, open_store
from molecatcher.live_rules import read_policy
from molecatcher.replay import Replay
from molecatcher.settings import Settings
from molecatcher.tables import detections_table, print_summary
from rules.catalogue import load_catalogue
from rules.event import Event, to_document
from rules.policy import Policy
from rules.ruleset import Ruleset


def replay_files(files: list[str], policy_path: Path | None, *, as_json: bool, store_in: Settings | None) -> None:
    """Replay `files` one after the other and print what was detected."""
    catalogue = load_catalogue()
    policy = read_policy(policy_path, catalogue, time.time_ns()) if policy_path else Policy()
    messages = Console(stderr=True)
    with _opened(store_in) as store:
        replay = Replay(Ruleset(catalogue, policy), store)
        events = _play(replay, files, messages)
        if as_json:
            _print_lines(events)
        else:
            Console().print(detections_table(events))
    print_summary(messages, replay.summary)


@contextmanager
def _opened(settings: Settings | None) -> Iterator[Store | None]:
    if settings is None:
        yield None
        return
    settings.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open_store(settings.database) as store:
        yield store


def _play(replay: Replay, files: list[str], console: Console) -> Iterator[Event]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as progress:
        for path in files:
            task = progress.add_task(Path(path).name, total=None)
            yield from replay.play(path, _updater(progress, task))
            progress.remove_task(task)


def _updater(progress: Progress, task: object) -> Callable[[int, int], None]:
    def update(done: int, size: int) -> None:
        progress.update(task, completed=done, total=size)  # type: ignore[arg-type]

    return update


def _print_lines(events: Iterator[Event]) -> None:
    encoder = msgspec.json.Encoder()
    for event in events:
        sys.stdout.buffer.write(encoder.encode(to_document(event, with_aggregates=False)) + b"\n")
    sys.stdout.buffer.flush()
