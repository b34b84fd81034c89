"""Whether the policy can say what people want it to: one answer while they write and when they keep it.

Each raises `Problem` with the field that is wrong; `prefix` is where that field stands in the body.
"""

from api.problems import Kind, Problem
from api.requests.bodies import BlockedBody, DraftBody, ExceptionBody, ProfileBody, SanctionBody
from rules.catalogue.service import CATEGORIES
from rules.errors import InvalidPolicy
from rules.policy.overlay import (
    is_shadowed,
    read_blocked,
    read_exception,
    read_never_blocked,
    read_profile,
    read_sanction,
)
from rules.policy.policy import Blocked, PolicyOrigin, Sanction
from rules.policy.profiles import BUILT_IN, MAX_PROFILES, Profile
from rules.policy.ruleset import Ruleset
from rules.preview.draft import PolicyDraft

SHADOWED = "The policy file has an exception for the same sources and service, which wins: change it there."
KNOWN = "This entry is there already: remove it first, or change it in the policy file."
IN_FILE = "The policy file sanctions this domain, and it wins: change it there."
SANCTIONED = "This domain is sanctioned already: remove that first."
DECIDED = "The policy file decides about this, and it wins: change it there."
PROFILE_IN_FILE = "This profile is built in or stands in the policy file, which wins: choose another name."
PROFILES_FULL = f"{MAX_PROFILES} profiles are all that are built: remove one first."
NO_SERVICE = "No service or category has this id; /v1/services lists them."


def require_sanction(body: SanctionBody, rules: Ruleset, now_ns: int, prefix: str = "") -> Sanction:
    """Return the ingress that `body` describes, if it can be sanctioned."""
    try:
        wanted = read_sanction(body.to_table(), rules.policy.blocked, rules.catalogue, now_ns)
    except InvalidPolicy as error:
        raise _invalid(error, prefix) from None
    known = next((row for row in rules.policy.sanctions if row.domain == wanted.domain), None)
    if known is not None:
        detail = IN_FILE if known.origin is PolicyOrigin.FILE else SANCTIONED
        raise _refused(Kind.CONFLICT, f"{prefix}domain", detail)
    return wanted


def require_exception(body: ExceptionBody, rules: Ruleset, now_ns: int, prefix: str = "") -> None:
    """Return if the exception can be made."""
    table = body.to_table()
    try:
        read_exception(table, "", rules.catalogue, now_ns)
    except InvalidPolicy as error:
        raise _invalid(error, prefix) from None
    if is_shadowed(table, rules.policy, rules.catalogue, now_ns):
        raise _refused(Kind.CONFLICT, f"{prefix}service", SHADOWED)


def require_blocked(body: BlockedBody, rules: Ruleset, now_ns: int, prefix: str = "") -> None:
    """Return if the entry can be listed."""
    try:
        wanted = read_blocked(body.to_table(), rules.policy.sanctions, rules.catalogue, now_ns)
    except InvalidPolicy as error:
        raise _invalid(error, prefix) from None
    _require_new(wanted, rules.policy.blocked, prefix)


def require_never_blocked(body: BlockedBody, rules: Ruleset, now_ns: int, prefix: str = "") -> None:
    """Return if the entry can be kept off every list."""
    try:
        wanted = read_never_blocked(body.to_table(), rules.catalogue, now_ns)
    except InvalidPolicy as error:
        raise _invalid(error, prefix) from None
    _require_new(wanted, rules.policy.never_blocked, prefix)


def require_decidable(service_id: str, rules: Ruleset, prefix: str = "") -> None:
    """Return if the file leaves open what is decided of a service or a category."""
    policy = rules.policy
    if service_id not in rules.catalogue.services and service_id not in CATEGORIES:
        raise _refused(Kind.INVALID_PARAMETER, f"{prefix}{service_id}", NO_SERVICE)
    if service_id in policy.decisions and service_id not in policy.decided_in_database:
        raise _refused(Kind.CONFLICT, f"{prefix}{service_id}", DECIDED)


def require_profile(name: str, body: ProfileBody, rules: Ruleset, now_ns: int) -> Profile:
    """Return the profile that `body` describes, if the policy file has none of this name and it can be built."""
    policy = rules.policy
    is_known = any(profile.name == name for profile in policy.profiles)
    if is_known and name not in policy.profiles_in_database:
        raise _refused(Kind.CONFLICT, "name", PROFILE_IN_FILE)
    if not is_known and len(policy.profiles) >= MAX_PROFILES + len(BUILT_IN):
        raise _refused(Kind.CONFLICT, "name", PROFILES_FULL)
    try:
        return read_profile(body.to_table(name), rules.catalogue, now_ns)
    except InvalidPolicy as error:
        raise _invalid(error, "") from None


def require_draft(body: DraftBody, rules: Ruleset, now_ns: int) -> PolicyDraft:
    """Return the change that `body` describes, if each part of it could be kept by itself."""
    for at, sanction in enumerate(body.sanctioned):
        require_sanction(sanction, rules, now_ns, f"sanctioned.{at}.")
    for at, exception in enumerate(body.exceptions):
        require_exception(exception, rules, now_ns, f"exceptions.{at}.")
    for at, entry in enumerate(body.blocked):
        require_blocked(entry, rules, now_ns, f"blocked.{at}.")
    for at, entry in enumerate(body.never_blocked):
        require_never_blocked(entry, rules, now_ns, f"never_blocked.{at}.")
    for service_id in body.decisions:
        require_decidable(service_id, rules, "decisions.")
    return body.to_draft()


def _require_new(wanted: Blocked, known: tuple[Blocked, ...], prefix: str) -> None:
    if any(row.what == wanted.what for row in known):
        raise _refused(Kind.CONFLICT, f"{prefix}entry", KNOWN)


def _invalid(error: InvalidPolicy, prefix: str) -> Problem:
    field = error.key.rpartition(".")[2] or "entry"
    return _refused(Kind.INVALID_PARAMETER, f"{prefix}{field}", error.detail)


def _refused(kind: Kind, field: str, detail: str) -> Problem:
    errors = [{"parameter": field, "detail": detail}]
    return Problem(kind, f"{field}: {detail}", extensions={"errors": errors})
