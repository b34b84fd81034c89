"""The container or service that a process belongs to, from its control groups (cgroups(7), /proc/PID/cgroup)."""

import re
from typing import Final

ID_CHARACTERS: Final = 12  # of 64, as container engines show it
_ID = r"([0-9a-f]{64})"
_PATTERNS: Final = (  # the first that matches
    ("docker", re.compile(rf"/docker[-/]{_ID}")),
    ("podman", re.compile(rf"/libpod-(?:conmon-)?{_ID}")),
    ("containerd", re.compile(rf"/cri-containerd-{_ID}")),
    ("crio", re.compile(rf"/crio-(?:conmon-)?{_ID}")),
    ("kubernetes", re.compile(rf"/kubepods[^\n]*/{_ID}")),
    ("containerd", re.compile(rf"[:/]{_ID}(?:\.scope)?$", re.MULTILINE)),
    ("lxc", re.compile(r"/lxc(?:\.payload)?[./]([\w.-]+)")),
    ("nspawn", re.compile(r"/machine\.slice/(?:systemd-nspawn@|machine-)([\w.\\-]+?)\.(?:service|scope)")),
)
_UNIT = re.compile(r"/([\w.@:\\-]+\.service)(?:/|$)", re.MULTILINE)


def container_of(control_groups: str) -> str | None:
    """Return `docker:3f2a...` (12 digits of the identity), or `systemd:NAME.service`; None of neither.

    Engines: docker, podman, containerd, crio, kubernetes, lxc, nspawn. Of nested units the innermost is named.
    """
    for engine, pattern in _PATTERNS:
        if found := pattern.search(control_groups):
            return f"{engine}:{found[1][:ID_CHARACTERS] if len(found[1]) == 64 else found[1]}"  # noqa: PLR2004 - SHA-256
    units = _UNIT.findall(control_groups)
    return f"systemd:{units[-1]}" if units else None
