"""What the API is given: the store, the published snapshots, what is known of catalogue and policy, a clock."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Protocol

from db.access.audit import Act
from db.store import Store
from rules.lists.blocklist import ListName, Snapshot
from rules.lists.guards import HeldList
from rules.policy.policy import PolicyOrigin
from rules.policy.profiles import AGENTS_ONLY, DEFAULT_PROFILE, Profile
from rules.policy.ruleset import Ruleset
from rules.preview.list_effects import ListEffect
from rules.values.dissected import DissectedPacket
from rules.values.verdict import Decision


@dataclass(frozen=True, slots=True)
class ServiceRow:
    """A service of the catalogue with what the organisation decided about it."""

    id: str
    name: str
    category: str
    confidence: str
    decision: Decision
    homepage: str


@dataclass(frozen=True, slots=True)
class CatalogueStatus:
    """The catalogue in force: its version and day, where it is from, the organisation's additions in it.

    `warning` is a sentence where it is old.
    """

    version: str
    generated: date
    age_days: int = 0
    is_old: bool = False
    origin: str = "the program"
    additions: tuple[str, ...] = ()
    warning: str = ""


@dataclass(frozen=True, slots=True)
class SanctionedDomain:
    """A domain of the policy that may be used, with everything below it."""

    domain: str
    service: str
    owner: str
    reason: str = ""
    expires: date | None = None
    is_active: bool = True
    origin: PolicyOrigin = PolicyOrigin.FILE


@dataclass(frozen=True, slots=True)
class PolicyStatus:
    """The policy in force. `path` is empty when none is used; `error` says why the newest file was not taken."""

    path: str
    loaded_at_ns: int
    sanctioned: tuple[SanctionedDomain, ...] = ()
    error: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CatalogueUpdate:
    """The update that the catalogue in force comes from: the bundle, and its signature as it came with it."""

    octets: bytes
    signature: bytes


class Snapshots(Protocol):
    """The lists in force."""

    def __call__(self, name: ListName, profile: str = DEFAULT_PROFILE) -> Snapshot | None:
        """Return one, None before it is built."""


class HeldLists(Protocol):
    """The lists that guards refused."""

    def __call__(self, name: ListName, profile: str = DEFAULT_PROFILE) -> HeldList | None:
        """Return the one that was refused last, None when the one in force is the newest."""


class ConfirmList(Protocol):
    """What publishes a refused list all the same."""

    def __call__(self, name: ListName, digest: str, profile: str = DEFAULT_PROFILE) -> bool:
        """Confirm the one with this digest; tell whether there is such a one that may be confirmed."""


NO_OUTPUTS = "outputs do not run here"


def _no_list(name: ListName, profile: str = DEFAULT_PROFILE) -> None:
    """Return no list."""


def _nothing_to_confirm(name: ListName, digest: str, profile: str = DEFAULT_PROFILE) -> bool:  # noqa: ARG001 - as above
    return False


@dataclass(frozen=True, slots=True)
class ApiContext:
    """Everything the API asks; the callables are asked on each request, so their answers may change.

    `ruleset` are the rules in force, the policy file with what people changed over the API; `policy_changed` is called
    after such a change, so that the next answer shows it. `preview_lists` says what other rules would do to the lists,
    `preview_profile` what those of a profile would hold, `access_error` why the newest access file was not taken, an
    empty text if it was. `needs_approval`: an exception waits for another person.
    `why_unbuilt` says in words why a list is not there, "" for no reason but time.
    `profiles` has each profile with whether it is in use; `use_profile` notes that somebody pulls one.
    A consumer that has an older list `behind_after_ns` after it was superseded is behind.

    `outputs_changed` is called when an output came or went; `replay_letters` delivers dead letters again and returns
    how many were taken, and why no more. `try_output` sends a trial event and returns why it was not taken, "" when it
    was. `output_key` seals the secrets of outputs.
    `dissect` puts the packets of an event into words. `demonstrate` plays a recorded agent and returns how many events
    were stored; None where there is no recording. `cursor_secret` signs page cursors, `name_key` makes pseudonyms. Both
    survive a restart only when the caller keeps them.
    """

    store: Store
    snapshot: Snapshots
    catalogue_services: Callable[[], Sequence[ServiceRow]]
    catalogue_status: Callable[[], CatalogueStatus]
    policy_status: Callable[[], PolicyStatus]
    now_ns: Callable[[], int]
    version: str
    ruleset: Callable[[], Ruleset]
    policy_changed: Callable[[], None] = lambda: None
    catalogue_update: Callable[[], CatalogueUpdate | None] = lambda: None
    preview_lists: Callable[[Ruleset], Sequence[ListEffect]] = lambda _proposed: ()
    preview_profile: Callable[[Profile], Sequence[ListEffect]] = lambda _wanted: ()
    access_error: Callable[[], str] = lambda: ""
    needs_approval: Callable[[], bool] = lambda: False
    outputs_changed: Callable[[], None] = lambda: None
    replay_letters: Callable[[str], tuple[int, str]] = lambda _output_id: (0, NO_OUTPUTS)
    try_output: Callable[[str], str] = lambda _output_id: NO_OUTPUTS
    held_list: HeldLists = _no_list
    why_unbuilt: Callable[[ListName, str], str] = lambda _name, _profile: ""
    confirm_list: ConfirmList = _nothing_to_confirm
    profiles: Callable[[], Sequence[tuple[Profile, bool]]] = lambda: ((AGENTS_ONLY, True),)
    use_profile: Callable[[str], None] = lambda _profile: None
    behind_after_ns: int = 30 * 60 * 1_000_000_000
    dissect: Callable[[bytes], Sequence[DissectedPacket]] = lambda _evidence: ()
    zone_counts: Callable[[], Mapping[str, int]] = dict
    demonstrate: Callable[[], int] | None = None
    cursor_secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    output_key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    name_key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    def on_behalf_of(self, act: Act) -> "ApiContext":
        """Return the context whose store notes what it changes as what `act` did."""
        return replace(self, store=self.store.on_behalf_of(act))
