"""Flow heads of a capture file: what the pipeline must see is picked by a compiled walk, the rest is only counted.

What passes is written in bpf/flow_policy.h, as for live capture; also whatever the walk does not know. A SYN, a pause
as long as the flow table's, or a clock that goes back begins a flow anew. A flow that lost its place in the table to
others gets another head: a full table costs time, never a detection. With a screen, what nothing can come of is held
back, too (sensor.capture.screening).

What does not pass is counted for its flow (`sensor.flows.flow.Count`): handed out with the batch in which the flow
begins anew or is forgotten, or taken for a flow that is asked about. So a flow carries the same whether all is read or
not.

The compiled part (`_heads.c`) is built at install where there is a compiler; without it `plain_heads` does much the
same to pcap files, more slowly. Of what is not laid out as the walk knows it (`layout`) every packet goes to the
pipeline, which passes over quiet flows itself (`sensor.flows.flow`). The detections are the same in each case.

The file is read, not mapped. Mapped, a file that is cut short meanwhile would end the process, and it costs twice as
much: where one record begins is known only from the one before, so each waits for memory, while a copy runs ahead of
itself and leaves the records in the cache. (A bare walk over 1.7 GB: 0.12 s read in windows of 1 MiB, 0.15 s of 128
KiB; mapped 0.26 s with the kernel's read-ahead, 0.29 s with MADV_POPULATE_READ in windows of 256 KiB to 64 MiB.)

Cost by bench/offline.py: 0.13 us a packet, half of it to copy the file. The table takes 13 MiB once it is full.
"""

from sensor.capture.filter.flow_table import CountRow, make_table
from sensor.capture.offline.layout import Laid, Layout
from sensor.capture.screening.compiled import NOTHING_SCREENED, CompiledScreen
from sensor.errors import MalformedCapture
from sensor.flows.flow import Count, Flow
from sensor.packet import LinkType, Packet

try:
    from sensor.capture.compiled._heads import take, take_all, walk
except ImportError:  # there was no compiler
    IS_COMPILED = False
else:
    IS_COMPILED = True

BATCH_RECORDS = 16_384
BATCH_HEADS = 512
SLICE_NS = 3_000_000_000
_LATEST_NS = (1 << 63) - 1


class HeadRecords:
    """The heads in a file with Ethernet frames, as long as it is `laid` out as the walk knows it.

    `passed_over` counts the records that were not handed out, `last_ns` is the time of the last one of any kind, and
    `truncated` tells that the file ended within a record. `counts` are of the batch that was read last, each with the
    number of heads that came before; with `is_back` the next batch begins all flows anew.
    """

    def __init__(self, laid: Laid, screen: CompiledScreen | None = None) -> None:
        self.truncated = False
        self.passed_over = 0
        self.last_ns = 0
        self.counts: list[tuple[int, Count]] = []
        self.is_back = False
        self._laid = laid
        self._window = laid.window
        self._table = make_table()
        self._screen = screen
        self._numbered: Layout | None = None  # whose interface the screen knows
        self._failure: MalformedCapture | None = None  # to be told once all before it was handed out

    def read(self) -> list[Packet] | None:
        """Return the heads among the next 16,384 records, at most 512 of them, perhaps none, or None at the end.

        A batch spans many windows of the file: copying the file drives the code that reads heads and its tables out of
        the processor's cache, and they come back once a batch. It ends with the first record 3 s after the one before
        it, so that what is counted of a flow can be looked at as often as live. It is also the end, with nothing read
        of it, where what comes next is not for the walk.

        Raises:
            MalformedCapture: the structure is damaged.
            CaptureError: the device fails.
        """
        heads: list[Packet] = []
        self.counts = []
        self.is_back = False
        taken, until_ns = 0, min(self.last_ns + SLICE_NS, _LATEST_NS)
        while self._wants_more(taken, heads):
            records = self._walk(heads, BATCH_RECORDS - taken, until_ns)
            taken += records
            if self.last_ns >= until_ns:
                break
            if not records and not self.is_back and not self._go_on():
                break
        is_end = not taken and not self.is_back and (self._window.is_exhausted or self._failure is not None)
        if self._screen is not None:
            heads += self._screen.advance(self.last_ns, is_end=is_end or self.is_back)
        if self._failure is not None and is_end and not heads:
            raise self._failure
        self.truncated = self._failure is None and is_end and self._window.has(1)
        self.passed_over += taken - len(heads)
        return heads if taken or heads or self.is_back else None

    def _wants_more(self, taken: int, heads: list[Packet]) -> bool:
        is_full = taken >= BATCH_RECORDS or len(heads) >= BATCH_HEADS
        return not is_full and not self.is_back and self._failure is None

    def _go_on(self) -> bool:
        try:
            return self._laid.go_on()
        except MalformedCapture as failure:
            self._failure = failure
            return False

    def _walk(self, heads: list[Packet], most: int, until_ns: int) -> int:
        """Return how many records were taken from the window, heads into `heads`."""
        layout = self._laid.layout
        if layout is None:
            return 0
        if self._screen is not None and layout is not self._numbered:
            self._screen.number([(LinkType.ETHERNET, layout.interface)])
            self._numbered = layout
        counted: list[CountRow] = []
        self._window.at, records, last_ns, self.is_back = walk(
            self._table,
            self._window.octets,
            self._window.at,
            self._window.end,
            heads,
            counted,
            Packet,
            most,
            BATCH_HEADS,
            layout,
            until_ns,
            *(self._screen.parts if self._screen is not None else NOTHING_SCREENED),
        )
        self.counts += _placed(counted)
        self.last_ns = last_ns if records else self.last_ns
        return records

    def count_apart(self, flow: Flow) -> None:
        """Add to `flow` what was counted of it until now and not handed out."""
        for _, octets_0, octets_1, packets_0, packets_1, last_ns in take(self._table, flow.key):
            flow.add(Count(flow.key, octets_0, octets_1, packets_0 + packets_1, last_ns), 0)

    def take_counts(self) -> list[tuple[int, Count]]:
        """Return what was counted of all flows until now and not handed out, behind no heads."""
        counted: list[CountRow] = []
        take_all(self._table, counted)
        return _placed(counted)


def _placed(counted: list[CountRow]) -> list[tuple[int, Count]]:
    return [
        (place, Count(key, octets_0, octets_1, packets_0 + packets_1, last_ns))
        for place, _, key, octets_0, octets_1, packets_0, packets_1, last_ns in counted
    ]
