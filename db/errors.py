"""The errors of this package.

DbError
├── StoreUnavailable       cannot be opened, locked or written just now: keep what you have and try again
└── StoreUnusable          will not get better by itself: corrupt, read-only, a newer schema, not a database of ours
"""


class DbError(Exception):
    """Base of everything this package raises on purpose; the message is one sentence that says what to do."""


class StoreUnavailable(DbError):
    """The store is locked, full or out of reach just now; nothing was written, and trying again may help."""


class StoreUnusable(DbError):
    """The store needs a person: corrupt, not writable, another program's file, or written by a newer version."""
