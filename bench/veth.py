"""A veth pair between two network namespaces of this process's own, gone when it is done with them, however it ends."""

import contextlib
import os
import subprocess
from collections.abc import Iterator, Sequence

INTERFACE = "eth0"


@contextlib.contextmanager
def veth() -> Iterator[tuple[str, str]]:
    """Yield the names of the sensor's namespace and the sender's, eth0 to eth0, both up and without IPv6."""
    sensor, sender = (f"mc-bench-{os.getpid()}-{name}" for name in ("sensor", "sender"))
    with contextlib.ExitStack() as stack:
        for name in (sensor, sender):
            command("ip", "netns", "add", name)
            stack.callback(command, "ip", "netns", "delete", name)
        link = ("link", "add", INTERFACE, "type", "veth", "peer", "name", INTERFACE, "netns", sender)
        command("ip", "-n", sensor, *link)
        for name in (sensor, sender):
            command("ip", "netns", "exec", name, "sysctl", "-q", f"net.ipv6.conf.{INTERFACE}.disable_ipv6=1")
            command("ip", "-n", name, "link", "set", INTERFACE, "up")
        yield sensor, sender


def command(*words: str) -> None:
    """Run a command that must succeed."""
    subprocess.run(words, check=True, capture_output=True)


def within(namespace: str, words: Sequence[str]) -> list[str]:
    """Return the command that runs `words` in a network namespace, in the same process."""
    return ["ip", "netns", "exec", namespace, *words]
