"""Profiles of the lists as documents, and what a changed one would hold."""

from api.context import ApiContext
from api.documents import document
from api.feeds.listed import profile_document
from api.policy.checks import require_profile
from api.requests.bodies import ProfileBody
from db.workflow.values import StoredProfile
from rules.policy.profiles import BUILT_IN, Profile
from rules.preview.list_effects import ListEffect

NOBODY = dict.fromkeys(("owner", "reason", "changed_by", "changed_at"))


def profile_effects(name: str, body: ProfileBody, context: ApiContext) -> list[ListEffect]:
    """Return what each list of a profile would hold.

    Raises:
        Problem: the profile could not be kept.
    """
    return list(context.preview_profile(require_profile(name, body, context.ruleset(), context.now_ns())))


def profile_documents(context: ApiContext) -> list[dict[str, object]]:
    """Return every profile as a document, in the order in which they were made."""
    policy, in_use = context.ruleset().policy, {row.name for row, is_in_use in context.profiles() if is_in_use}
    stored = {row.chosen.name: row for row in context.store.policy.profiles()}
    built_in = {row.name for row in BUILT_IN}
    documents = []
    for profile in policy.profiles:
        row = stored.get(profile.name) if profile.name in policy.profiles_in_database else None
        origin = "database" if row else "built-in" if profile.name in built_in else "file"
        documents.append(known_profile_document(profile, profile.name in in_use, origin, row))
    return documents


def known_profile_document(
    profile: Profile, is_in_use: bool, origin: str, row: StoredProfile | None
) -> dict[str, object]:
    """Return a profile as a document, with who made it and where."""
    people = {name: value for name, value in document(row).items() if name != "chosen"} if row else NOBODY
    return profile_document(profile, is_in_use) | {"origin": origin} | people
