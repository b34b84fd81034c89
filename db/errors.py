"""The errors of this package.

DbError
├── StoreUnavailable       cannot be opened, locked or written just now: keep what you have and try again
├── HistoryFull            a finding holds no more comments
└── StoreUnusable          will not get better by itself: corrupt, read-only, a newer schema, not a database of ours
"""


class DbError(Exception):
    """Base of everything this package raises on purpose; the message is one sentence that says what to do."""


class StoreUnavailable(DbError):
    """The store is locked, full or out of reach just now; nothing was written, and trying again may help."""


class StoreUnusable(DbError):
    """The store needs a person: corrupt, not writable, another program's file, or written by a newer version."""


class HistoryFull(DbError):
    """A finding has as many comments as there is room for; nothing was written."""
