"""Traps of patience: what comes long after one would expect it, or twice. Rows of `traps.DETECTED`."""

from conversations import BANNER, SERVER_HELLO
from frames import CLIENT, MS, Conversation, S, ask, dns_answer, tell
from screened import LISTED, hello
from trap import SSH_SUSPECT, Trap

from sensor.packet import Packet

WAIT_NS = 100 * S


def late_hello() -> list[Packet]:
    talk = Conversation(start_ns=S)
    opening = talk.open()
    talk.now_ns += WAIT_NS
    return [*opening, *talk.send(hello(LISTED)), *talk.answer(SERVER_HELLO)]


def late_banner() -> list[Packet]:
    talk = Conversation(start_ns=S)
    begun = [*talk.open(), *talk.send(hello("www.example.org"))]
    talk.now_ns += WAIT_NS
    return [*begun, *talk.answer(BANNER)]


def second_answer() -> list[Packet]:
    alias = dns_answer("www.example.org", [CLIENT], aliases=[LISTED])
    return [ask(S, "www.example.org"), tell(S + MS, dns_answer("www.example.org", rcode=3)), tell(S + 2 * MS, alias)]


LATE = (
    Trap(
        "a client that connects and says hello minutes later",
        "what is held of a connection is handed on before it is half a minute old",
        late_hello,
        verdicts=1,
    ),
    Trap(
        "a harmless hello that is answered minutes later, by SSH",
        "a hello of no interest is not passed over before a ServerHello answers it",
        late_banner,
        SSH_SUSPECT,
    ),
    Trap(
        "a negative answer first, then one with an alias",
        "an answer that leads to other names than the first is looked at, too",
        second_answer,
        verdicts=1,
    ),
)
