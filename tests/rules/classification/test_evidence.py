from itertools import pairwise

from rules.catalogue.service import Trust
from rules.classification.evidence import (
    CAPS,
    ENOUGH_FOR_SUSPICION,
    WEIGHTS,
    Finding,
    Sign,
    alias_sign,
    confidence,
    reasons,
)
from rules.values.observation import Evidence
from rules.values.verdict import Outcome, Reason


def finding(sign: Sign, indicator: str = "x") -> Finding:
    return Finding(sign, Reason(Evidence.ADDRESS, indicator, "because"))


def test_every_kind_has_a_weight_and_a_reason() -> None:
    assert set(WEIGHTS) == set(Sign)
    assert all(0 <= row.weight < 100 and row.why for row in WEIGHTS.values())


def test_the_table_stands_from_strong_to_weak_within_its_groups() -> None:
    weak = [WEIGHTS[sign].weight for sign in list(Sign)[list(Sign).index(Sign.PROTOCOL_AGREES) :]]
    assert all(first >= second for first, second in pairwise(weak))


def test_kinds_that_agree_add_up_and_the_same_kind_counts_once() -> None:
    one = confidence([finding(Sign.TOLD_ADDRESS)], Outcome.SUSPICIOUS)
    both = confidence([finding(Sign.TOLD_ADDRESS), finding(Sign.HEARTBEAT)], Outcome.SUSPICIOUS)
    assert (one, both) == (60, 70)
    assert confidence([finding(Sign.TOLD_ADDRESS)] * 3, Outcome.SUSPICIOUS) == one


def test_a_suspicion_is_capped() -> None:
    everything = [finding(sign) for sign in Sign]
    assert confidence(everything, Outcome.SUSPICIOUS) == CAPS[Outcome.SUSPICIOUS]
    assert confidence(everything, Outcome.UNSANCTIONED) == CAPS[Outcome.UNSANCTIONED]


def test_no_weak_kind_is_enough_alone() -> None:
    weak = (Sign.AUXILIARY_BESIDE, Sign.PROVIDER_ADDRESS, Sign.HEARTBEAT, Sign.AGENT_HELLO, Sign.NOT_ASKED)
    assert all(WEIGHTS[sign].weight < ENOUGH_FOR_SUSPICION for sign in weak)


def test_reasons_stand_weightiest_first() -> None:
    found = [finding(Sign.NOT_ASKED, "a"), finding(Sign.LISTED_HIGH, "b"), finding(Sign.LISTED_HIGH, "c")]
    assert [row.indicator for row in reasons(found)] == ["b", "c", "a"]


def test_an_alias_is_no_surer_than_the_list() -> None:
    assert [alias_sign(trust) for trust in Trust] == [Sign.ALIAS, Sign.LISTED_MEDIUM, Sign.LISTED_LOW]
