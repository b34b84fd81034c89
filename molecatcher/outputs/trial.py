"""An event to try an output with: everything that receives it can tell that nothing happened."""

from rules.values.event import Event, EventReason, uuid7
from rules.values.observation import FlowState, Kind, Transport
from rules.values.verdict import Outcome, Role, Severity

TRIAL = "trial"
NAME = "trial.invalid"  # RFC 2606: no such name can be
ADDRESS = "192.0.2.10"  # RFC 5737: no host has it


def trial_event(output_name: str, now_ns: int) -> Event:
    """Return an event of the sensor `trial` that says which output it tries."""
    return Event(
        event_id=uuid7(now_ns),
        observed_at_ns=now_ns,
        kind=Kind.DNS,
        verdict=Outcome.UNSANCTIONED,
        state=FlowState.ATTEMPTED,
        role=Role.AGENT,
        severity=Severity.INFORMATIONAL,
        confidence=0,
        reasons=(EventReason("trial", NAME, f"a trial of the output {output_name}: nothing happened"),),
        sensor_id=TRIAL,
        src_ip=ADDRESS,
        src_port=0,
        dst_ip=ADDRESS,
        dst_port=0,
        dst_name=NAME,
        transport=Transport.UDP,
        first_seen_ns=now_ns,
        last_seen_ns=now_ns,
    )
