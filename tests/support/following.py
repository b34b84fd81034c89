"""What every reader of a list must do: follow what changes, and keep its protection whatever becomes of our server."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from installation import wait_until
from list_service import ListService

from rules.lists.blocklist import AddressList, NameList

LOOKS = 60
Judgement = Mapping[str, bool | None]


@dataclass(frozen=True)
class State:
    """A list, and what a reader must make of it: is each name or address let through?"""

    body: NameList | AddressList
    wanted: Judgement


@dataclass(frozen=True)
class Reader:
    """A program that reads a list.

    Args:
        judge: what it lets through now, of what it can tell apart.
        look: has it look at our server now, where it does not by itself.
        complains: tells whether it has noticed that our server is away, where it says so.
    """

    judge: Callable[[], Judgement]
    look: Callable[[], Any] = lambda: None
    complains: Callable[[], bool] = lambda: True


def follow(service: ListService, reader: Reader, first: State, second: State, third: State) -> None:
    """Take a reader through three states of a list and everything that can happen to our server."""

    def is_as(state: State) -> bool:
        judged = reader.judge()
        return bool(judged) and judged == {name: state.wanted[name] for name in judged}

    def look_until(is_true: Callable[[], bool]) -> None:
        """Have it look once a second: BIND does not at every word while it looks already."""
        for _ in range(LOOKS):
            reader.look()
            with suppress(TimeoutError):
                return wait_until(is_true, 1)
        raise TimeoutError("the reader did not do what was waited for")

    def settle(state: State) -> None:
        service.publish(state.body)
        look_until(lambda: is_as(state))

    def keeps(state: State) -> None:
        asked = service.questions()
        look_until(lambda: service.questions() > asked)
        assert is_as(state)

    look_until(lambda: is_as(first))
    settle(second)
    for status in (404, 500, 503):
        with service.failing(status):
            keeps(second)
    service.installation.break_database()
    keeps(second)
    service.installation.mend_database()
    settle(third)
    service.stop()
    look_until(reader.complains)
    assert is_as(third)
    service.start()
    settle(first)
