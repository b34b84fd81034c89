"""A detection: what was observed and what the rules say of it."""

from dataclasses import dataclass

from rules.observation import Observation
from rules.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Detection:
    """An observation with its verdict; `observation.key` and `.revision` say what it replaces."""

    observation: Observation
    verdict: Verdict
