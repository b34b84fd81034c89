"""What renderers of URLs share: every line is checked, for it goes into firewalls' files as it is."""

import re
from collections.abc import Iterator

from api.errors import UnrenderableSnapshot
from api.feeds.names import checked
from rules.lists.blocklist import NameEntry, Scope, Snapshot, UrlEntry, UrlList

_PATH = re.compile(r"/[!-~]*")


def url_list(snapshot: Snapshot) -> UrlList:
    """Return the snapshot's URLs.

    Raises:
        UnrenderableSnapshot: it holds something else.
    """
    if not isinstance(snapshot.body, UrlList):
        raise UnrenderableSnapshot(f"{snapshot.list_name} {snapshot.serial} holds {type(snapshot.body).__name__}")
    return snapshot.body


def url_entries(snapshot: Snapshot) -> Iterator[NameEntry | UrlEntry]:
    """Return the entries: the names, whose every URL is meant, then single URLs."""
    body = url_list(snapshot)
    for name in body.names:
        checked(name.name)
        yield name
    for row in body.urls:
        yield _checked(row)


def patterns(entry: NameEntry | UrlEntry) -> tuple[str, ...]:
    """Return the lines of an entry: `name/` is every URL of a host, `*.name/` of the hosts below, `host/path` itself.

    The slash counts: without it `name` would also match `name.example.net` on some firewalls.
    """
    if isinstance(entry, UrlEntry):
        return (entry.url,)
    own = f"{entry.name}/"
    return (own, f"*.{own}") if entry.scope is Scope.SUBTREE else (own,)


def url_lines(snapshot: Snapshot) -> Iterator[str]:
    """Return the lines of a URL list."""
    for entry in url_entries(snapshot):
        yield from patterns(entry)


def _checked(entry: UrlEntry) -> UrlEntry:
    host, slash, path = entry.url.partition("/")
    checked(host)
    if not _PATH.fullmatch(f"{slash}{path}"):
        raise UnrenderableSnapshot(f"{entry.url[:80]!r} is no host and path")
    return entry
