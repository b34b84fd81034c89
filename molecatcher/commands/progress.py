"""A progress bar on standard error, where a person watches."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

OnProgress = Callable[[int, int], None]


@contextmanager
def progress_of(description: str, messages: Console) -> Iterator[OnProgress]:
    """Show how much of a file is done; what is yielded is told octets read and octets there are."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=messages, transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task(description, total=None)
        yield lambda done, size: progress.update(task, completed=done, total=size)
