import hashlib

import pytest

from sensor.extract.ja4 import ja4

# The example of FoxIO's specification: Chrome, 15 cipher suites and 16 extensions, GREASE aside.
CIPHERS = "0a0a 1301 1302 1303 c02b c02f c02c c030 cca9 cca8 c013 c014 009c 009d 002f 0035"
EXTENSIONS = "1a1a 001b 0000 0033 0010 4469 0017 002d 000d 0005 0023 0012 002b ff01 000b 000a 0015"
ALGORITHMS = "0403 0804 0401 0503 0805 0501 0806 0601"


def chrome(**changes: object) -> str:
    values: dict[str, object] = {
        "transport": "t",
        "version": 0x0304,
        "ciphers": bytes.fromhex(CIPHERS),
        "extensions": [int(kind, 16) for kind in EXTENSIONS.split()],
        "signature_algorithms": bytes.fromhex(ALGORITHMS),
        "alpn": b"h2",
    }
    return ja4(**(values | changes))  # type: ignore[arg-type]


def test_the_example_of_the_specification() -> None:
    assert chrome() == "t13d1516h2_8daaf6152771_e5627efa2ab1"


@pytest.mark.parametrize(
    ("alpn", "ends"),
    [
        (None, "00"),
        (b"", "00"),
        (b"h2", "h2"),
        (b"http/1.1", "h1"),
        (b"argotunnel", "al"),
        (b"1", "11"),
        (b"\xab", "ab"),
        (b"\xab\xcd", "ad"),
        (b"0\xab", "3b"),
        (b"a\xab\xcdz", "az"),
    ],
)
def test_the_first_protocol_name_gives_two_characters(alpn: bytes | None, ends: str) -> None:
    assert chrome(alpn=alpn).split("_")[0] == f"t13d1516{ends}"


@pytest.mark.parametrize(
    ("version", "text"),
    [(0x0304, "13"), (0x0303, "12"), (0x0301, "10"), (0x0300, "s3"), (0xFEFD, "d2"), (0x7F1C, "00")],
)
def test_versions(version: int, text: str) -> None:
    assert chrome(version=version)[1:3] == text


def test_without_a_server_name() -> None:
    assert chrome(extensions=[0x0010])[:10] == "t13i1501h2"


def test_counts_stop_at_99() -> None:
    suites = b"".join((0x1000 + number).to_bytes(2, "big") for number in range(120))
    assert chrome(ciphers=suites, extensions=list(range(1, 120)))[4:8] == "9999"


def test_signature_algorithms_keep_their_order_and_lose_grease() -> None:
    wanted = hashlib.sha256(b"000d_0804,0403").hexdigest()[:12]
    assert chrome(extensions=[13, 0], signature_algorithms=bytes.fromhex("0a0a08040403")).endswith(wanted)


def test_nothing_offered_gives_zeros() -> None:
    text = chrome(ciphers=b"", extensions=[], signature_algorithms=b"", alpn=None)
    assert text == "t13i000000_000000000000_000000000000"
