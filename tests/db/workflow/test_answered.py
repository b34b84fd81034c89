"""Answers that are kept: each caller's in a room of its own, all of them in one."""

import pytest

from db.store import Store
from db.workflow import answered
from db.workflow.values import Answered

KEPT = Answered(b"1", 0, 200, {}, b"done")


def answer(store: Store, caller: str, key: str, at_ns: int) -> None:
    assert store.answered.begin(caller, key, b"1", at_ns) is None
    store.answered.finish(caller, key, KEPT)


def keys(store: Store, caller: str, *wanted: str) -> list[str]:
    """Return those of the keys whose answers are still kept."""
    found = [(key, store.answered.begin(caller, key, b"1", 99)) for key in wanted]
    return [key for key, kept in found if kept is not None]


def test_a_caller_pushes_out_its_own_answers_first(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answered, "MAX_OF_CALLER", 2)
    answer(store, "soar", "a", 1)
    for at_ns, key in enumerate("abcd", 2):
        answer(store, "logout:https://id.example", key, at_ns)
    assert keys(store, "soar", "a") == ["a"]
    assert keys(store, "logout:https://id.example", "c", "d") == ["c", "d"]
    assert keys(store, "logout:https://id.example", "a") == []


def test_the_oldest_of_all_leaves(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answered, "MAX_KEPT", 2)
    for at_ns, caller in enumerate(("one", "two", "three"), 1):
        answer(store, caller, "key", at_ns)
    assert keys(store, "three", "key") == ["key"]
    assert keys(store, "two", "key") == ["key"]
    assert keys(store, "one", "key") == []
