"""A detection: what was observed and what the rules say of it."""

import msgspec

from rules.values.event import NO_BASIS, Basis
from rules.values.observation import Observation
from rules.values.verdict import Verdict


class Detection(msgspec.Struct, frozen=True, gc=False):
    """An observation with its verdict; `observation.key` and `.revision` say what it replaces, `basis` the rules."""

    observation: Observation
    verdict: Verdict
    basis: Basis = NO_BASIS
