import random
from itertools import pairwise

import pytest
from hellos import extension, hello_message, server_name, truncations, vector
from hypothesis import given
from hypothesis import strategies as st
from initials import V1, V2, crypto, initial, initial_keys
from recordings import Recording

from rules.values.observation import ClientHello
from sensor.errors import MalformedQuic, NeedMoreData
from sensor.extract import quic
from sensor.extract.quic import MAX_CRYPTO_OCTETS, QuicInitialReader, is_quic_initial
from sensor.extract.tls import parse_client_hello

# RFC 9001 appendix A.2: the CRYPTO frame of the sample client Initial.
RFC_FRAME = bytes.fromhex(
    "060040f1010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e868"
    "04fe3a47f06a2b69484c00000413011302010000c000000010000e00000b6578"
    "616d706c652e636f6dff01000100000a00080006001d00170018001000070005"
    "04616c706e000500050100000000003300260024001d00209370b2c9caa47fba"
    "baf4559fedba753de171fa71f50f1ce15d43e994ec74d748002b000302030400"
    "0d0010000e0403050306030203080408050806002d00020101001c0002400100"
    "3900320408ffffffffffffffff05048000ffff07048000ffff08011001048000"
    "75300901100f088394c8f03e51570806048000ffff"
)
RFC_DCID = bytes.fromhex("8394c8f03e515708")

SNI = server_name(b"quic.cftunnel.com")
LONG_MESSAGE = hello_message(extension(51, bytes(1800)), SNI, extension(16, vector(2, vector(1, b"argotunnel"))))
HELLO = parse_client_hello(LONG_MESSAGE, "q")


def feed_all(*datagrams: bytes, reader: QuicInitialReader | None = None) -> ClientHello:
    """The answer to the last datagram; the others must not complete the hello."""
    reader = reader or QuicInitialReader()
    for datagram in datagrams[:-1]:
        with pytest.raises(NeedMoreData):
            reader.feed(datagram)
    return reader.feed(datagrams[-1])


def halves(cut: int = 1000) -> list[bytes]:
    return [crypto(0, LONG_MESSAGE[:cut]), crypto(cut, LONG_MESSAGE[cut:])]


def test_the_keys_of_the_standards_are_those_of_the_test_encryptor() -> None:
    assert [key.hex() for key in initial_keys(RFC_DCID, V1)] == [
        "1f369613dd76d5467730efcbe3b1a22d",
        "fa044b2f42a3fd3b46fb255c",
        "9f50449e04a0e810283a1e9933adedd2",
    ]
    assert [key.hex() for key in initial_keys(RFC_DCID, V2)] == [
        "8b1a0bc121284290a29e0971b5cd045d",
        "91f73e2351d8fa91660e909f",
        "45b95e15235d6f45a6b19cbcb0294ba9",
    ]


@pytest.mark.parametrize(
    ("version", "start"),
    [
        (V1, "c000000001088394c8f03e5157080000449e7b9aec34d1b1c98dd7689fb8ec11"),
        (V2, "d76b3343cf088394c8f03e5157080000449ea0c95e82ffe67b6abcdb4298b485"),
    ],
)
def test_the_sample_initials_of_the_standards(version: int, start: str) -> None:
    datagram = initial(RFC_FRAME, dcid=RFC_DCID, version=version, number=2)
    assert datagram.hex().startswith(start)
    if version == V1:
        assert datagram.hex().endswith("e221af44860018ab0856972e194cd934")
    hello = feed_all(datagram)
    assert (hello.sni, hello.alpn, hello.versions) == ("example.com", ("alpn",), (0x0304,))
    assert hello.ja4.startswith("q13d0211an_")


@pytest.mark.parametrize("version", [V1, V2])
@pytest.mark.parametrize("number_octets", [1, 2, 3, 4])
def test_packet_numbers_of_any_length(version: int, number_octets: int) -> None:
    first, second = halves()
    datagrams = [
        initial(frames, version=version, number=number, number_octets=number_octets)
        for number, frames in enumerate((first, second))
    ]
    assert feed_all(*datagrams) == HELLO
    assert feed_all(*reversed(datagrams)) == HELLO


@pytest.mark.parametrize("seed", range(20))
def test_crypto_frames_may_be_split_shuffled_and_overlap(seed: int) -> None:
    source = random.Random(seed)
    cuts = sorted({0, *source.sample(range(1, len(LONG_MESSAGE)), 12), len(LONG_MESSAGE)})
    pieces = [
        crypto(start := max(0, begin - source.randint(0, 40)), LONG_MESSAGE[start : end + source.randint(0, 40)])
        for begin, end in pairwise(cuts)
    ]
    source.shuffle(pieces)
    middle = len(pieces) // 3
    groups = [pieces[:middle], pieces[middle : 2 * middle], pieces[2 * middle :]]
    reader = QuicInitialReader()
    answers = []
    for number, group in enumerate(groups):
        frames = b"\x01\0\0\0".join(group)
        try:
            answers.append(reader.feed(initial(frames, number=number)))
        except NeedMoreData:
            continue
    assert answers[-1] == HELLO


def test_of_octets_sent_twice_the_first_ones_count() -> None:
    first, second = (hello_message(server_name(name)) for name in (b"first.example", b"other.example"))
    assert len(first) == len(second)
    early = initial(crypto(40, first[40:]) + crypto(40, second[40:]))
    late = initial(crypto(0, second), number=1)
    assert feed_all(early, late).sni == "first.example"


def test_frames_that_a_client_may_add_are_skipped() -> None:
    ack = b"\x02\x05\x00\x01\x00\x00\x00"
    ack_ecn = b"\x03\x05\x00\x00\x00\x01\x01\x01"
    frames = b"\0\0\x01" + ack + ack_ecn + crypto(0, hello_message(SNI))
    assert feed_all(initial(frames)).sni == "quic.cftunnel.com"
    closing = initial(crypto(0, hello_message(SNI)) + b"\x1c\x00\x00\x00")
    assert feed_all(closing).sni == "quic.cftunnel.com"


def test_after_a_retry_the_new_connection_id_makes_the_keys() -> None:
    first, second = halves()
    retried = [initial(frames, dcid=b"after-retry", token=b"token" * 20, number=2) for frames in (first, second)]
    assert feed_all(initial(first), *retried) == HELLO


def test_after_an_answer_the_keys_stay() -> None:
    first, second = halves()
    assert feed_all(initial(first), initial(second, dcid=b"server", keyed_by=b"original", number=1)) == HELLO
    assert feed_all(initial(first), initial(second, dcid=b"", keyed_by=b"original", number=1)) == HELLO


def test_the_servers_initial_changes_nothing() -> None:
    first, second = halves()
    server = initial(crypto(0, b"\x02\0\0\0"), dcid=b"client-id", keyed_by=b"original", side="server in")
    assert feed_all(server, initial(first), server, initial(second, number=1)) == HELLO


def test_a_forgery_changes_nothing() -> None:
    first, second = halves()
    forged = bytearray(initial(crypto(0, b"\x02\0\0\0")))
    forged[-1] ^= 1
    assert feed_all(bytes(forged), initial(first), bytes(forged), initial(second, number=1)) == HELLO


def test_coalesced_packets_are_read_and_rubbish_behind_them_ignored() -> None:
    first, second = halves()
    zero_rtt = b"\xd0" + V1.to_bytes(4, "big") + b"\x08original\0" + b"\x40\x40" + bytes(64)
    together = initial(first, length=1100) + initial(second, number=1)
    assert feed_all(together) == HELLO
    assert feed_all(zero_rtt + initial(hello_crypto())).sni == "quic.cftunnel.com"
    assert feed_all(initial(hello_crypto()) + b"\xc0\0\0\0\x01\xff\xff").sni == "quic.cftunnel.com"
    assert feed_all(initial(hello_crypto()) + bytes(40)).sni == "quic.cftunnel.com"


def test_a_coalesced_packet_of_another_connection_changes_nothing() -> None:
    other = initial(b"\x01", dcid=b"somebody", length=0)
    assert feed_all(initial(hello_crypto()) + other).sni == "quic.cftunnel.com"


def test_a_datagram_of_many_packets_is_read_as_far_as_a_client_fills_one() -> None:
    datagram = b"".join(initial(b"\x01", number=at, length=0) for at in range(20))
    assert len(quic._packets(datagram)) == 8


def hello_crypto() -> bytes:
    return crypto(0, hello_message(SNI))


def test_a_partial_hello_gives_its_name_at_the_end() -> None:
    message = hello_message(SNI, extension(51, bytes(1800)))
    reader = QuicInitialReader()
    with pytest.raises(NeedMoreData):
        reader.read_partial()
    with pytest.raises(NeedMoreData):
        reader.feed(initial(crypto(0, message[:1000])))
    partial = reader.read_partial()
    assert (partial.sni, partial.ja4) == ("quic.cftunnel.com", "")


@pytest.mark.parametrize(
    "frames",
    [
        crypto(MAX_CRYPTO_OCTETS - 2, b"abc"),
        crypto(2**60, b"abc"),
        b"\x06\x00\x7f\xff",
        b"\x08\x00\x00",
        b"\x02\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff",
        crypto(0, b"\x02\0\0\0"),
        crypto(0, b"\x01\xff\xff\xff"),
        crypto(0, hello_message(extension(0, b"\xff\xff"))),
    ],
)
def test_impossible_frames_are_malformed(frames: bytes) -> None:
    with pytest.raises(MalformedQuic):
        QuicInitialReader().feed(initial(frames))


def test_other_datagrams_need_more() -> None:
    version_negotiation = b"\xc0\0\0\0\0\x08original\0\0\0\0\x01"
    retry = b"\xf0" + V1.to_bytes(4, "big") + b"\x08original\0" + b"token" + bytes(16)
    for datagram in (b"", b"\x40" + bytes(40), version_negotiation, retry, b"\xc0\xff\0\0\x1d" + bytes(1200)):
        with pytest.raises(NeedMoreData):
            QuicInitialReader().feed(datagram)


def test_an_initial_is_recognised_by_content() -> None:
    assert is_quic_initial(initial(hello_crypto()))
    assert is_quic_initial(initial(hello_crypto(), version=V2))
    good = initial(hello_crypto())
    assert not is_quic_initial(good[:1199])
    assert not is_quic_initial(b"\x80" + good[1:])
    assert not is_quic_initial(b"\xe0" + good[1:])
    assert not is_quic_initial(good[:1] + b"\0\0\0\x05" + good[5:])
    assert not is_quic_initial(good[:5] + b"\x15" + good[6:])


def test_every_truncation_raises_what_it_should() -> None:
    datagram = initial(hello_crypto())
    for beginning in truncations(datagram):
        assert not is_quic_initial(beginning)
        with pytest.raises((NeedMoreData, MalformedQuic)):
            QuicInitialReader().feed(beginning)


def test_recorded_hellos_equal_their_manifest(recording: Recording) -> None:
    readers: dict[object, QuicInitialReader] = {}
    found = set()
    for flow, datagram in recording.datagrams:
        if is_quic_initial(datagram):
            try:
                hello = readers.setdefault(flow, QuicInitialReader()).feed(datagram)
            except NeedMoreData:
                continue
            found.add((hello.sni, hello.alpn, hello.ja4))
    assert found == recording.hellos("quic")


@given(st.binary(max_size=200))
def test_random_octets_raise_nothing_else(octets: bytes) -> None:
    reader = QuicInitialReader()
    for datagram in (octets, b"\xc0\0\0\0\x01" + octets, b"\xd0\x6b\x33\x43\xcf\x08original\0\0" + octets):
        is_quic_initial(datagram.ljust(1200, b"\xff"))
        with pytest.raises((NeedMoreData, MalformedQuic)):
            reader.feed(datagram)


@given(st.binary(min_size=1, max_size=100))
def test_random_frames_raise_nothing_else(frames: bytes) -> None:
    reader = QuicInitialReader()
    try:
        reader.feed(initial(frames))
    except (NeedMoreData, MalformedQuic):
        return
