"""Block lists as they go into and come out of the store; times are nanoseconds since the epoch."""

import msgspec

from rules.policy.profiles import DEFAULT_PROFILE


class SnapshotRow(msgspec.Struct, frozen=True):
    """One published list; `serial` counts up, for each list and profile, from the time of the first."""

    list_name: str
    serial: int
    created_at_ns: int
    digest: str
    body: bytes
    profile: str = DEFAULT_PROFILE


class PullRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What one consumer pulled of one list in one profile and format.

    `consumer` is the token's name, empty without a token; `serial` the one that it was handed last (0: none), at
    `changed_ns` for the first time; `status` that of its last pull; `pulls` counts those that were served.
    """

    pull_id: str
    token_id: str
    consumer: str
    address: str
    user_agent: str
    list_name: str
    profile: str
    format: str
    serial: int
    status: int
    first_pull_ns: int
    last_pull_ns: int
    changed_ns: int
    pulls: int
    failures: int


class Resolution(msgspec.Struct, frozen=True):
    """The last good answer for a name.

    `resolved_at_ns` is when it was got (0: never), `ok` tells whether the newest try succeeded.
    """

    name: str
    addresses: tuple[str, ...]
    resolved_at_ns: int
    ok: bool
