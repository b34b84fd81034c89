import os
import socket
import threading
import time

from installation import wait_until
from msgspec.structs import replace
from observations import hello

from rules.values.observation import Observation
from rules.values.source import Source
from rules.values.verdict import UNKNOWN
from sensor.attribution.attributor import MAX_QUESTIONS, Attributor
from sensor.capture.live.namespaces import Namespaces
from sensor.detection.detection import Detection


def seen(key: int, src: str, src_port: int = 40000, dst: str = "198.51.100.1", dst_port: int = 443) -> Observation:
    found = hello("connect.ngrok-agent.com", src=src)
    ends = replace(
        found.five_tuple,
        src_port=src_port,
        dst=socket.inet_aton(dst),
        dst_port=dst_port,
    )
    return replace(found, key=key, five_tuple=ends)


def ask(attributor: Attributor, *observations: Observation) -> None:
    attributor.ask([Detection(observation, UNKNOWN) for observation in observations])


def test_flows_of_other_hosts_are_answered_soon_and_one_of_this_host_at_once() -> None:
    attributor = Attributor(Namespaces(), reverse_name=lambda address: f"host-{address}")
    answers: dict[int, Source] = {}

    def answered(*keys: int) -> bool:
        answers.update(attributor.answers())
        return answers.keys() >= set(keys)

    ask(attributor, seen(1, "198.51.100.7"))
    wait_until(lambda: answered(1))
    ask(attributor, seen(2, "198.51.100.8"), seen(3, "198.51.100.9"))
    time.sleep(0.05)
    assert len(attributor._questions) == 2  # for each other, and for somebody who asks for answers
    wait_until(lambda: answered(2, 3))
    assert answers[3] == Source(host="host-198.51.100.9")
    with socket.socket() as listener, socket.socket() as client:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        client.connect(listener.getsockname())
        ask(attributor, seen(4, "127.0.0.1", client.getsockname()[1], *listener.getsockname()))
        wait_until(lambda: not attributor._questions)
        wait_until(lambda: answered(4))
    assert answers[4].pid == os.getpid()
    attributor.close()


def test_what_is_asked_beyond_what_may_wait_is_counted() -> None:
    is_free, waited = threading.Event(), []

    def slow(address: str) -> str | None:
        waited.append(address)
        is_free.wait(60)
        return None

    attributor = Attributor(Namespaces(), reverse_name=slow)
    ask(attributor, seen(1, "198.51.100.7"))
    wait_until(lambda: waited)
    ask(attributor, *(seen(number, "198.51.100.7") for number in range(2, MAX_QUESTIONS + 12)))
    assert (len(attributor._questions), attributor.shed) == (MAX_QUESTIONS, 10)
    is_free.set()
    attributor.close()
