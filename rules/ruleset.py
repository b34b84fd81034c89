"""The rules in force: one immutable pair that a reload replaces as a whole."""

from dataclasses import dataclass

from rules.catalogue import Catalogue
from rules.policy import Policy


@dataclass(frozen=True, slots=True)
class Ruleset:
    """A catalogue and a policy that was checked against it."""

    catalogue: Catalogue
    policy: Policy
