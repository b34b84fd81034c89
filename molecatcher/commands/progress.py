"""A progress bar on standard error, where a person watches."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

OnProgress = Callable[[int, int], None]


@contextmanager
def progress_of(description: str, messages: Console) -> Iterator[OnProgress]:
    """Show how much of a file is done; what is yielded is told octets read and octets there are."""
    if not sys.stderr.isatty():
        yield lambda _done, _size: None
        return
    from rich.progress import (  # noqa: PLC0415 - slow to import, and nobody watches
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=messages, transient=True) as progress:
        task = progress.add_task(description, total=None)
        yield lambda done, size: progress.update(task, completed=done, total=size)
