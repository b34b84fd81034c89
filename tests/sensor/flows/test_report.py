import time

import pytest
from frames import Conversation

from sensor.pipeline import Pipeline

CONNECT = b"CONNECT agent.example:443 HTTP/1.1\r\n\r\n"


@pytest.mark.parametrize("reply", [b"HTTP/1.1 200\n" * 100, b"HTTP/1.1 2000" * 100])
def test_a_proxy_whose_reply_never_ends_costs_no_more_than_another(reply: bytes) -> None:
    pipeline, talk = Pipeline(), Conversation(("10.0.0.2", 40000, "10.0.0.1", 3128))
    pipeline.feed_batch([*talk.open(), *talk.send(CONNECT)])
    packets = [packet for _ in range(200) for packet in talk.answer(reply)]
    started = time.process_time()
    pipeline.feed_batch(packets)
    assert time.process_time() - started < 0.2  # it took 25 ms a packet
