"""A proxy's record as the observation of a flow through it."""

from rules.values.observation import (
    Evidence,
    FiveTuple,
    FlowState,
    Indicator,
    Kind,
    Observation,
    Refusal,
    Traffic,
    Transport,
)
from sensor.proxy_log.record import ProxyRecord


def observe(record: ProxyRecord, key: int, source: str) -> Observation:
    """Return the observation of `record`, which was read from `source`; `key` is one that no other record has."""
    return Observation(
        key=key,
        revision=1,
        observed_at_ns=record.began_ns,
        kind=Kind.HTTP if record.method else Kind.TLS,
        five_tuple=FiveTuple(Transport.TCP, record.client, record.client_port, record.server, record.port),
        indicators=_indicators(record),
        state=_state(record),
        refusal=Refusal.PROXY if record.is_denied else None,
        interface=source,
        traffic=Traffic(record.octets_out, record.octets_in, 0, record.ended_ns),
        via_proxy=True,
        user=record.user,
    )


def _indicators(record: ProxyRecord) -> tuple[Indicator, ...]:
    rows = []
    if record.method:
        evidence = Evidence.HTTP_CONNECT if record.method == "CONNECT" else Evidence.HTTP_HOST
        rows.append(Indicator(evidence, record.host))
    if record.sni is not None:
        rows.append(Indicator(Evidence.TLS_SNI, record.sni))
    return tuple(rows)


def _state(record: ProxyRecord) -> FlowState:
    if record.is_denied:
        return FlowState.BLOCKED
    return FlowState.LIVE if record.is_established else FlowState.ATTEMPTED
