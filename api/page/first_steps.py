"""The first steps of a new installation: what works already, and what to do next."""

from collections.abc import Sequence
from dataclasses import dataclass

from api.context import PolicyStatus
from api.page.sensor_cards import SensorCard
from api.page.templates import grouped
from rules.values.event import DEMONSTRATION, Event


@dataclass(frozen=True, slots=True)
class Step:
    """One step: what it is about, how it stands in a sentence, and what to type or look at (`command`, "" for none)."""

    title: str
    is_done: bool
    sentence: str
    command: str = ""


def first_steps(cards: Sequence[SensorCard], events: Sequence[Event], policy: PolicyStatus) -> tuple[Step, ...]:
    """Return the steps in their order, () once all of them are done."""
    watching = [card.status for card in cards if card.is_capturing]
    steps = (
        _capture(cards),
        _traffic(sum(status.packets for status in watching)),
        _names(sum(status.observations for status in watching)),
        _tunnel(events),
        _policy(policy),
    )
    return () if all(step.is_done for step in steps) else steps


def _capture(cards: Sequence[SensorCard]) -> Step:
    listening = sorted({name for card in cards if card.is_capturing for name in card.status.interfaces})
    if listening:
        return Step("A sensor is capturing", True, f"On {', '.join(listening)}.")
    sentence = "None is. This says what the host can capture and what is missing:"
    return Step("A sensor is capturing", False, sentence, "molecatcher doctor")


def _traffic(packets: int) -> Step:
    if packets:
        return Step("It sees traffic", True, f"{grouped(packets)} packets so far.")
    sentence = "Nothing yet. Make some on a host behind it; if it stays so, listen on another interface:"
    return Step("It sees traffic", False, sentence, "molecatcher run --interface NAME")


def _names(observations: int) -> Step:
    if observations:
        return Step("It reads names", True, f"{grouped(observations)} look-ups and connections were read.")
    sentence = "No look-up and no connection was read yet. This makes both:"
    return Step("It reads names", False, sentence, "curl -sI example.com")


def _tunnel(events: Sequence[Event]) -> Step:
    title = "It recognises a tunnel"
    if any(event.sensor_id != DEMONSTRATION for event in events):
        return Step(title, True, "It did; the findings are below.")
    return Step(title, False, "Ask for a tunnel service's name on a host behind it:", "dig connect.ngrok-agent.com")


def _policy(policy: PolicyStatus) -> Step:
    title = "It knows what is sanctioned"
    active = [row.domain for row in policy.sanctioned if row.is_active]
    if active:
        return Step(title, True, f"{', '.join(active)} may be used.")
    sentence = "Nothing is, so every tunnel is a finding. Sanction your own ingress under Policy, or in a file:"
    return Step(title, False, sentence, "molecatcher run --policy policy.toml")
