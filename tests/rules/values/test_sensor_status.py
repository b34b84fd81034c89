"""What several workers say of themselves, as one sensor's status."""

from rules.values.sensor_status import SensorState, SensorStatus, as_one

S = 1_000_000_000


def status(**fields: object) -> SensorStatus:
    known = {"sensor_id": "s", "version": "1", "hostname": "h", "started_at_ns": 10 * S, "heartbeat_ns": 100 * S}
    return SensorStatus(**(known | {"interfaces": ("eth0",)} | fields))  # type: ignore[arg-type]  # fields come by name


def test_one_worker_is_its_own_sum() -> None:
    alone = status(packets=3, lag_ms=7, evicted={"dns": 2}, policy_error="x")
    assert as_one([alone]) == alone


def test_totals_are_summed_and_peaks_are_not() -> None:
    both = as_one(
        [
            status(
                packets=3, kernel_drops=1, lag_ms=7, buffer_fill=0.5, evicted={"dns": 2}, interface_drops={"eth0": 1}
            ),
            status(packets=4, kernel_drops=5, lag_ms=3, evicted={"dns": 1, "flows": 4}, interfaces=("eth0", "eth1")),
        ]
    )
    assert (both.packets, both.kernel_drops, both.lag_ms, both.buffer_fill) == (7, 6, 7, 0.5)
    assert both.evicted == {"dns": 3, "flows": 4}
    assert both.interface_drops == {"eth0": 1}
    assert both.interfaces == ("eth0", "eth1")


def test_what_an_ended_worker_counted_stays_and_what_it_held_does_not() -> None:
    ended = status(started_at_ns=5 * S, heartbeat_ns=50 * S, packets=10, spool_events=4, evicted={"dns": 1})
    now = as_one([status(packets=1)], [ended])
    assert (now.packets, now.spool_events, now.evicted) == (11, 0, {"dns": 1})
    assert (now.started_at_ns, now.heartbeat_ns) == (5 * S, 100 * S)


def test_one_silent_worker_makes_the_sensor_silent() -> None:
    assert as_one([status(), status(heartbeat_ns=60 * S)]).state(100 * S) == SensorState.SILENT


def test_every_counter_of_a_status_has_its_rule() -> None:
    """A field that is added to the status must be summed, compared or left to the first worker on purpose."""
    left = {"sensor_id", "version", "hostname", "interfaces", "engine", "engine_reason", "policy_error", "workers"}
    left |= {"started_at_ns", "heartbeat_ns", "catalogue_version", "is_remote", "rules_revision", "name", "site"}
    ones = {
        name: {"x": 1} if name in {"interface_drops", "evicted"} else 1
        for name in set(SensorStatus.__struct_fields__) - left
    }
    twice = as_one([status(**ones), status(**ones)])
    peaks = {"buffer_fill", "buffer_fill_peak", "lag_ms", "flow_map_turnover", "delivery_lag_ms"}
    for name, value in ones.items():
        assert getattr(twice, name) == ({"x": 2} if isinstance(value, dict) else 1 if name in peaks else 2), name
