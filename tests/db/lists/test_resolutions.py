from db.lists.values import Resolution
from db.store import Store

S = 1_000_000_000


def test_the_last_good_answer_outlives_failures(store: Store) -> None:
    good = Resolution("tunnel.example", ("192.0.2.1", "2001:db8::1"), 10, ok=True)
    store.save_resolution(good, Resolution("gone.example", (), 11, ok=False))
    store.save_resolution(Resolution("tunnel.example", (), 20, ok=False))
    assert store.resolutions() == [
        Resolution("gone.example", (), 0, ok=False),
        Resolution("tunnel.example", good.addresses, 10, ok=False),
    ]
    newer = Resolution("tunnel.example", ("192.0.2.2",), 30, ok=True)
    store.save_resolution(newer)
    store.save_resolution(good)
    assert store.resolutions()[1] == newer


def test_a_name_that_first_failed_may_resolve_later(store: Store) -> None:
    store.save_resolution(Resolution("slow.example", (), 50, ok=False))
    found = Resolution("slow.example", ("192.0.2.1",), 40, ok=True)
    store.save_resolution(found)
    assert store.resolutions() == [found]


def test_what_a_clock_ahead_left_behind_is_replaced(store: Store) -> None:
    store.save_resolution(Resolution("tunnel.example", ("192.0.2.1",), 9000 * S, ok=True))
    store.save_resolution(Resolution("tunnel.example", (), 19 * S, ok=False))
    assert store.resolutions()[0].addresses == ("192.0.2.1",)
    now = Resolution("tunnel.example", ("192.0.2.2",), 20 * S, ok=True)
    store.save_resolution(now)
    assert store.resolutions() == [now]
