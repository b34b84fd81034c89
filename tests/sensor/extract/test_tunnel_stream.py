import pytest

from rules.values.observation import Evidence
from sensor.errors import NeedMoreData
from sensor.extract.stream import read_stream

TOKEN = bytes(range(1, 33))
LOGIN = b'o\0\0\0\0\0\0\x01\x20{"version":"0.52.3","hostname":"","os":"linux"' + b" " * 40
YAMUX = bytes.fromhex("000100010000000100000000") + bytes.fromhex("00000000000000010000012a")
GSOCKET = b"\x01\x01\x03" + bytes(13) + TOKEN + TOKEN[:16] + bytes(64)
RATHOLE = bytes(4) + b"\x01" + TOKEN
OPENVPN = b"\0\x0e\x38" + TOKEN[:8] + bytes(5)
OPENVPN_ANSWER = b"\0\x1a\x40" + TOKEN[:8] + b"\x01" + bytes(4) + TOKEN[8:16] + bytes(4)
UPGRADE = b"GET %b HTTP/1.1\r\nHost: x.example\r\nUpgrade: %b\r\nConnection: Upgrade\r\n\r\n"
JPRQ = b"\xb5\0\x5c\xff\x81\x03\x01\x01\x0fTunnelRequested\x01\xff\x82\0\x01\x05\x01\x08Protocol"
STREAMS = {
    "jprq": JPRQ,
    "frp-login": LOGIN,
    "gsocket": GSOCKET,
    "rathole-hello": RATHOLE,
    "openvpn-reset": OPENVPN,
    "openvpn-handshake": OPENVPN_ANSWER,
    "bore": b'{"Hello":8080}\0',
    "zerotier-tcp": b"\x17\x03\x03\0\x04\x01\x0c\0\0",
}


def tells(stream: bytes, *, is_final: bool = False) -> list[str]:
    facts = read_stream(stream, is_final=is_final)
    return [row.value for row in facts.indicators if row.evidence is Evidence.PROTOCOL]


@pytest.mark.parametrize("name", list(STREAMS))
def test_the_beginning_of_each_protocol_is_told_once_it_is_complete(name: str) -> None:
    stream = STREAMS[name]
    assert tells(stream) == tells(stream + bytes(100)) == [name]
    for length in range(1, len(stream)):
        try:
            assert tells(stream[:length]) in ([], [name])
        except NeedMoreData:
            continue


def test_frp_s_login_inside_its_multiplexer() -> None:
    assert tells(YAMUX + LOGIN) == ["frp-login"]
    with pytest.raises(NeedMoreData):
        read_stream(YAMUX)
    assert tells(YAMUX + bytes(60), is_final=True) == []  # another program's yamux


@pytest.mark.parametrize(
    ("path", "upgrade", "tell"),
    [
        (b"/~!frp", b"websocket", ["frp-websocket"]),
        (b"/ts2021", b"tailscale-control-protocol", ["tailscale-control"]),
        (b"/derp", b"DERP", ["tailscale-derp"]),
        (b"/v1/events", b"websocket", ["wstunnel"]),
        (b"/v1/events", b"h2c", []),
        (b"/derp", b"websocket", []),
        (b"/~!frpx", b"websocket", []),
    ],
)
def test_paths_with_what_they_upgrade_to(path: bytes, upgrade: bytes, tell: list[str]) -> None:
    assert tells(UPGRADE % (path, upgrade)) == tell


@pytest.mark.parametrize(
    "stream",
    [
        b"order 66, please\r\n" * 5,
        JPRQ.replace(b"TunnelRequested", b"TunnelRequestee"),
        JPRQ.replace(b"\xff\x81\x03\x01", b"\xff\x81\x03\x02"),
        b'{"Hello":"world"}\0',
        b'{"jsonrpc":"2.0","method":"mining.subscribe"}\n',
        b"\x01\x01\x03\x07" + bytes(124),
        GSOCKET[:70] + b"\x01" + GSOCKET[71:],
        GSOCKET[:16] + bytes(112),
        RATHOLE[:10] + bytes(27),
        b"\0\0\0\x2d\xfeSMB" + bytes(60),
        b"\0\x0e\x38" + TOKEN[:13],
        b"\x81\0\0\x44 CKFDENECFDEFFCFGEFFCCACACACACACA\0" + bytes(40),
        b"\x17\x03\x03\0\x20" + bytes(32),
    ],
)
def test_near_misses_tell_nothing(stream: bytes) -> None:
    assert tells(stream, is_final=True) == []


def test_the_field_by_which_inlets_numbers_its_clients() -> None:
    request = UPGRADE.replace(b"Host", b"X-Inlets-Id: 1\r\nHost") % (b"/tunnel", b"websocket")
    assert tells(request) == ["inlets"]
    assert tells(UPGRADE % (b"/tunnel", b"websocket")) == []
