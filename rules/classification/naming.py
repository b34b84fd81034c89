"""Where names are read, and how verdicts speak of that."""

from typing import Final

from rules.values.observation import Evidence
from rules.values.verdict import Role

NAME_EVIDENCE: Final = frozenset(
    {
        Evidence.DNS_QUERY,
        Evidence.TLS_SNI,
        Evidence.QUIC_SNI,
        Evidence.HTTP_CONNECT,
        Evidence.HTTP_HOST,
        Evidence.SOCKS,
    }
)
HELLO_EVIDENCE: Final = frozenset({Evidence.TLS_SNI, Evidence.QUIC_SNI})
PROXY_EVIDENCE: Final = frozenset({Evidence.HTTP_CONNECT, Evidence.SOCKS})

WHAT_A_ROLE_DOES: Final = {
    Role.AGENT: "is dialled by agents of",
    Role.UNCLEAR: "is dialled by agents of, and opened by visitors of,",
    Role.VISITOR: "is opened by visitors of",
    Role.AUXILIARY: "serves updates or revocation lists to agents of",
}
WHERE_IT_WAS_SEEN: Final = {
    Evidence.DNS_QUERY: "the client asked for",
    Evidence.TLS_SNI: "the TLS hello named",
    Evidence.QUIC_SNI: "the QUIC hello named",
    Evidence.HTTP_CONNECT: "the client asked a proxy for",
    Evidence.HTTP_HOST: "the HTTP request named",
    Evidence.SOCKS: "the client asked a SOCKS proxy for",
}
