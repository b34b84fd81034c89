"""What a change of the rules would do to a block list."""

import msgspec

from rules.lists.blocklist import Body, ListName, count
from rules.lists.changes import differences
from rules.lists.guards import Refusal, Spared, refusals
from rules.policy.profiles import Profile

MAX_EXAMPLES = 50


class ListEffect(msgspec.Struct, frozen=True, kw_only=True):
    """What would come onto a list of a profile and leave it, with up to `MAX_EXAMPLES` of each.

    `refusals` are why guards would keep the list that is in force instead, `note` what else holds it back.
    """

    list_name: ListName
    profile: str
    entries: int
    added: int
    removed: int
    added_examples: tuple[str, ...] = ()
    removed_examples: tuple[str, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    note: str = ""


def list_effect(
    name: ListName, profile: Profile, bodies: tuple[Body, Body], in_force: Body | None, spared: Spared
) -> ListEffect:
    """Return what the second of `bodies` has beyond the first and the other way round. Costs O(entries)."""
    now, then = bodies
    shown: dict[bool, list[str]] = {True: [], False: []}
    counts = {True: 0, False: 0}
    for is_new, text in differences(now, then):
        counts[is_new] += 1
        if len(shown[is_new]) < MAX_EXAMPLES:
            shown[is_new].append(text)
    return ListEffect(
        list_name=name,
        profile=profile.name,
        entries=count(then),
        added=counts[True],
        removed=counts[False],
        added_examples=tuple(shown[True]),
        removed_examples=tuple(shown[False]),
        refusals=tuple(refusals(then, in_force, spared, profile)),
    )
