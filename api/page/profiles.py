"""Profiles of the lists as the page shows them, and what a form of one can choose."""

from dataclasses import dataclass

from api.context import ApiContext
from api.policy.profiles import profile_documents
from rules.catalogue.service import CATEGORIES, Trust
from rules.lists.blocklist import ListName, count
from rules.policy.profiles import FindingUse

ROLES = (
    ("agent", "names that agents dial"),
    ("visitor", "names that visitors open"),
    ("auxiliary", "update and revocation names"),
)
TRUSTS = ((Trust.HIGH, "high alone"), (Trust.MEDIUM, "medium and high"), (Trust.LOW, "all"))
USES = (
    (FindingUse.OFF, "none"),
    (FindingUse.CONFIRMED, "those that an analyst acknowledged"),
    (FindingUse.CERTAIN, "those that DNS itself proves, too"),
)


@dataclass(frozen=True, slots=True)
class ProfileCard:
    """A profile as the API has it, and how many entries its lists have now, None for one that is not built."""

    document: dict[str, object]
    counts: tuple[tuple[str, int | None], ...]


@dataclass(frozen=True, slots=True)
class ProfilesView:
    """Every profile, and the services and categories that one can name."""

    cards: tuple[ProfileCard, ...]
    choices: tuple[tuple[str, str], ...]
    roles: tuple[tuple[str, str], ...] = ROLES
    trusts: tuple[tuple[Trust, str], ...] = TRUSTS
    uses: tuple[tuple[FindingUse, str], ...] = USES


def make_profiles(context: ApiContext) -> ProfilesView:
    """Return every profile with what it holds now."""
    services = sorted(((row.id, row.name) for row in context.catalogue_services()), key=lambda row: row[1].lower())
    return ProfilesView(
        cards=tuple(ProfileCard(row, _counts(context, str(row["name"]))) for row in profile_documents(context)),
        choices=(*((name, f"all of {name}") for name in sorted(CATEGORIES)), *services),
    )


def _counts(context: ApiContext, profile: str) -> tuple[tuple[str, int | None], ...]:
    in_force = ((name, context.snapshot(name, profile)) for name in ListName)
    return tuple((name.value, count(snapshot.body) if snapshot else None) for name, snapshot in in_force)
