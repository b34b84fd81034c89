"""The beat of an idle agent: every ten seconds a little both ways, and nothing else."""

from rules.values.observation import Traffic

BEAT_NS = 10_000_000_000
TOLERANCE_NS = 1_500_000_000
ONE_BEAT_NS = 1_000_000_000  # packets this close are of the same beat
MOST_OCTETS = 1_000  # each way
MOST_PACKETS = 8


class Heartbeat:
    """Counts the beats of one flow from what it has carried, looked at several times between two beats."""

    __slots__ = ("_seen", "beats")

    def __init__(self, traffic: Traffic) -> None:
        self.beats = 0
        self._seen = traffic

    def note(self, traffic: Traffic) -> int:
        """Return how many beats there were in a row by now; one that comes early, late or large begins anew."""
        before = self._seen
        if traffic.packets == before.packets:
            return self.beats
        if traffic.last_ns - before.last_ns >= ONE_BEAT_NS:
            self.beats = self.beats + 1 if _is_beat(before, traffic) else 0
            self._seen = traffic
        else:  # the rest of the beat seen before
            self._seen = Traffic(traffic.octets_out, traffic.octets_in, traffic.packets, before.last_ns)
        return self.beats


def _is_beat(before: Traffic, now: Traffic) -> bool:
    """Tell whether what came since `before` is one beat; a silent or talkative direction is none."""
    out, back = now.octets_out - before.octets_out, now.octets_in - before.octets_in
    is_small = 0 < out <= MOST_OCTETS and 0 < back <= MOST_OCTETS and now.packets - before.packets <= MOST_PACKETS
    return is_small and abs(now.last_ns - before.last_ns - BEAT_NS) <= TOLERANCE_NS
