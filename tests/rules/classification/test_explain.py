import pytest
from hypothesis import given
from hypothesis import strategies as st
from stored_events import make_event

from rules.classification.explain import explain
from rules.values.event import EventReason
from rules.values.observation import Evidence, FlowState, Kind
from rules.values.verdict import Decision, Outcome, Role


def test_an_agent_is_explained_in_sentences() -> None:
    event = make_event(1, src_user="alice", count=3, bytes_out=1200, bytes_in=98_000)
    assert explain(event, "ngrok", Decision.BLOCK) == (
        "10.20.0.7 (alice) runs a tunnel of ngrok, which the policy does not sanction.",
        "An agent domain of ngrok.",
        (
            "Confidence 90 of 100: the client named the host itself in the connection; "
            "it could have named a host that it does not speak to."
        ),
        "It got through: octets went both ways.",
        "Seen 3 times, 1,200 octets out and 98,000 in.",
        "Ngrok is to be blocked: what names and addresses are known of it are on the block lists.",
        (
            "If it is wanted: an [[exception]] for 10.20.0.7 and the service ngrok allows it for a while; "
            "a domain of your own in [[sanctioned]] allows that ingress for all."
        ),
    )


def test_an_exception_is_said_in_place_of_the_decision() -> None:
    sentences = explain(make_event(1, exception_id="it-pilot"), "ngrok", Decision.BLOCK)
    assert "The exception it-pilot allows this source to use ngrok for a while." in sentences
    assert not any("block lists" in sentence for sentence in sentences)


def test_a_denied_lookup_says_who_denied_it() -> None:
    sentences = explain(make_event(1, kind=Kind.DNS, state=FlowState.BLOCKED), "ngrok", None)
    assert "It was blocked: the resolver denied the name or led it nowhere." in sentences


def test_who_is_behind_it_is_said_as_far_as_it_is_known() -> None:
    local = make_event(1, src_user="alice", src_process="ngrok", src_container="docker:4f1c2a9b7d3e")
    assert explain(local, "ngrok", None)[0].startswith("10.20.0.7 (alice, ngrok, docker:4f1c2a9b7d3e) runs a tunnel")
    assert explain(make_event(1, src_host="laptop-7"), "ngrok", None)[0].startswith("10.20.0.7 (laptop-7) runs")


@pytest.mark.parametrize(("lost", "said"), [(0, ""), (1, "lost a packet around"), (1200, "lost 1,200 packets around")])
def test_what_the_sensor_lost_is_said(lost: int, said: str) -> None:
    sentences = " ".join(explain(make_event(1, sensor_loss=lost), "ngrok", None))
    assert said in sentences
    assert ("The sensor lost" in sentences) == bool(lost)


@pytest.mark.parametrize("evidence", Evidence)
def test_each_kind_of_evidence_says_how_sure_it_is(evidence: Evidence) -> None:
    event = make_event(1, reasons=(EventReason(evidence, "x", "the sensor saw it"),))
    assert any(sentence.startswith("Confidence 90 of 100: ") for sentence in explain(event, "ngrok", None))


@given(
    st.sampled_from(Outcome),
    st.sampled_from(Role),
    st.sampled_from(FlowState),
    st.sampled_from(Kind),
    st.none() | st.sampled_from(Decision),
)
def test_every_event_is_explained(
    verdict: Outcome, role: Role, state: FlowState, kind: Kind, decision: Decision | None
) -> None:
    event = make_event(1, verdict=verdict, role=role, state=state, kind=kind, service=None, dst_name=None, tls_sni=None)
    sentences = explain(event, "an unknown service", decision)
    assert len(set(sentences)) == len(sentences) >= 4
    for sentence in sentences:
        assert sentence.endswith(".")
        assert sentence[0].isupper() or sentence[0].isdigit()
        assert "None" not in sentence
        assert sentence[0].isupper() or sentence[0].isdigit()
        assert "None" not in sentence
        assert "{" not in sentence


def test_signs_that_only_add_up_are_not_called_a_name() -> None:
    reasons = (EventReason(Evidence.DNS_QUERY, "crl.x", "beside it"), EventReason(Evidence.JA4, "t13", "the hello"))
    event = make_event(1, verdict=Outcome.SUSPICIOUS, reasons=reasons)
    assert any("together they do" in sentence for sentence in explain(event, "ngrok", None))


def test_a_sanctioned_address_is_not_explained_by_its_protocol() -> None:
    reasons = (EventReason(Evidence.ADDRESS, "192.0.2.1", "pinned"), EventReason(Evidence.SSH_BANNER, "SSH-2.0", "SSH"))
    event = make_event(1, verdict=Outcome.SANCTIONED, reasons=reasons)
    assert any("the one that was expected" in sentence for sentence in explain(event, "SSH", None))


def test_a_dns_tunnel_is_no_look_up_for_something_else() -> None:
    reasons = (EventReason(Evidence.PROTOCOL, "dns-tunnel:iodine", "the handshake of iodine"),)
    event = make_event(1, verdict=Outcome.SUSPICIOUS, kind=Kind.DNS, state=FlowState.ATTEMPTED, reasons=reasons)
    said = explain(event, "iodine (IP over DNS)", Decision.MONITOR)
    assert "What it carries goes in the look-ups themselves." in said
    assert "Iodine is watched and not on the block lists." in said


def test_who_wants_a_server_without_a_name_is_told_of_the_pin() -> None:
    event = make_event(1, verdict=Outcome.SUSPICIOUS, dst_name=None, service="ssh-remote-forward")
    assert any("[[sanctioned]]" in sentence and event.dst_ip in sentence for sentence in explain(event, "SSH", None))
