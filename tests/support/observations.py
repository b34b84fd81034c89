"""Observations as the sensor would make them, for tests of what comes after it."""

import ipaddress

from rules.matching.names import fold
from rules.values.observation import (
    ClientHello,
    DnsTransaction,
    Evidence,
    FiveTuple,
    Indicator,
    Kind,
    Observation,
    Transport,
)

NOW_NS = 1_795_000_000 * 1_000_000_000  # 2026-11-18
CLIENT = "10.1.2.3"
SERVER = "198.51.100.7"


def five_tuple(src: str = CLIENT, dst: str = SERVER, dst_port: int = 443, src_port: int = 40000) -> FiveTuple:
    packed = [ipaddress.ip_address(text).packed for text in (src, dst)]
    return FiveTuple(Transport.TCP, packed[0], src_port, packed[1], dst_port)


def flow(
    *indicators: tuple[Evidence, str],
    told: tuple[str | tuple[str, ...], ...] = (),
    alpn: tuple[str, ...] = (),
    key: int = 1,
    at_ns: int = NOW_NS,
    **endpoints: object,
) -> Observation:
    sni = next((value for evidence, value in indicators if evidence is Evidence.TLS_SNI), None)
    return Observation(
        key=key,
        revision=1,
        observed_at_ns=at_ns,
        kind=Kind.TLS,
        five_tuple=five_tuple(**endpoints),  # type: ignore[arg-type]
        indicators=tuple(Indicator(evidence, fold(value)) for evidence, value in indicators),
        hello=ClientHello(sni, alpn, (0x0304,), "t13d000000_000000000000_000000000000") if sni or alpn else None,
        told=tuple((fold(name),) if isinstance(name, str) else tuple(map(fold, name)) for name in told),
    )


def hello(name: str, **rest: object) -> Observation:
    return flow((Evidence.TLS_SNI, name), **rest)  # type: ignore[arg-type]


def lookup(qname: str, *cnames: str, key: int = 1, at_ns: int = NOW_NS, **endpoints: object) -> Observation:
    name = fold(qname)
    return Observation(
        key=key,
        revision=1,
        observed_at_ns=at_ns,
        kind=Kind.DNS,
        five_tuple=five_tuple(dst_port=53, **endpoints),  # type: ignore[arg-type]
        indicators=(
            Indicator(Evidence.DNS_QUERY, name),
            *(Indicator(Evidence.DNS_CNAME, fold(alias)) for alias in cnames),
        ),
        dns=DnsTransaction(name, 1, 0, tuple(fold(alias) for alias in cnames), (bytes([198, 51, 100, 7]),)),
    )
