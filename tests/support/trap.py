"""What a trap is, and the verdicts there may be on one."""

from collections.abc import Callable
from typing import NamedTuple

from sensor.packet import Packet

Verdict = tuple[str, str | None, str]  # verdict, service, role
Verdicts = set[Verdict]

PINNED = 'addresses = ["203.0.113.0/24"]'
NGROK_AGENT: Verdicts = {("unsanctioned", "ngrok", "agent")}
NGROK_AND_UPDATES: Verdicts = {("unsanctioned", "ngrok", "agent"), ("unsanctioned", "ngrok", "auxiliary")}
NGROK_SUSPECT: Verdicts = {("suspicious", "ngrok", "agent")}
SANCTIONED_AGENT: Verdicts = {("sanctioned", "ngrok", "agent")}
SSH_SUSPECT: Verdicts = {("suspicious", "ssh-remote-forward", "unclear")}
WIREGUARD_SUSPECT: Verdicts = {("suspicious", "wireguard-generic", "unclear")}
NGROK_VISITOR: Verdicts = {("unsanctioned", "ngrok", "visitor")}
NOTHING: Verdicts = set()


class Trap(NamedTuple):
    """A trap: its name and explanation as the documentation has them, the traffic, and the verdicts on it."""

    name: str
    explanation: str
    packets: Callable[[], list[Packet]]
    expected: Verdicts = NGROK_AGENT
    pin: str = ""
    verdicts: int = 0  # how many flows and look-ups there is a verdict on, where several are tried
