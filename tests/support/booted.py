"""A real systemd that boots in namespaces of its own over a copy-on-write view of this host, and runs our units there.

It shares the network: what listens on this host's loopback is there. It changes nothing of the host: what it writes is
in memory, the kernel's settings are read-only for it.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from installation import wait_until

SYSTEMD = Path("/lib/systemd/systemd")
UNITS = Path(__file__).resolve().parents[2] / "systemd"
PROGRAM = Path(sys.prefix)
TARGET = "[Unit]\nDescription=Tests\nDefaultDependencies=no\n"
HOST_SERVICES = ("systemd-sysctl", "systemd-modules-load", "systemd-binfmt", "systemd-udevd", "systemd-udev-trigger")
BOOT = """
set -e
mount -t tmpfs tmpfs {folder}
mkdir {folder}/upper {folder}/work {folder}/root
mount -t overlay overlay -o lowerdir=/,upperdir={folder}/upper,workdir={folder}/work {folder}/root
cd {folder}/root
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount --rbind --make-rslave /sys sys
mount --rbind --make-rslave /dev dev
mount -t tmpfs tmpfs run
rm -rf etc/systemd/system etc/molecatcher opt/molecatcher var/lib/molecatcher*
mkdir -p etc/systemd/system etc/sysusers.d etc/molecatcher/fetch opt/molecatcher
for name in {masked}; do ln -s /dev/null etc/systemd/system/$name.service; done
cp {units}/*.service {units}/*.timer etc/systemd/system
cp {units}/sysusers.d/* etc/sysusers.d
ln -s {program} opt/molecatcher/.venv
printf '{target}' > etc/systemd/system/tests.target
mkdir run/before
pivot_root . run/before
umount -l /run/before
mount --make-rshared /
systemd-sysusers
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin {systemd} --system --unit=tests.target
"""
needs_systemd_to_boot = pytest.mark.skipif(
    os.geteuid() != 0 or not SYSTEMD.exists() or shutil.which("unshare") is None or PROGRAM.is_relative_to("/home"),
    reason="booting systemd needs root, and the units see nothing below /home",
)


@dataclass(frozen=True, slots=True)
class Booted:
    """A systemd that runs."""

    pid: int

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run a command there."""
        enter = ["nsenter", f"--target={self.pid}", "--mount", "--pid", "--ipc", "--uts", "--cgroup", "--root"]
        return subprocess.run([*enter, *argv], check=False, capture_output=True, text=True, timeout=60)

    def systemctl(self, *words: str) -> None:
        """Have it do something; what it says otherwise ends the test."""
        done = self.run("systemctl", *words)
        assert done.returncode == 0, f"{done.stderr}\n{self.run('journalctl', '--no-pager', '-n', '40').stdout}"

    def shows(self, unit: str, field: str) -> str:
        """Return a field of a unit."""
        return self.run("systemctl", "show", "--value", f"--property={field}", unit).stdout.strip()

    def path(self, path: str) -> Path:
        """Return where a file of it is seen from here."""
        return Path(f"/proc/{self.pid}/root{path}")


@contextmanager
def booted(folder: Path) -> Iterator[Booted]:
    """Boot over an empty `folder` with our units and user, and the program of these tests in /opt."""
    values = {"folder": folder, "units": UNITS, "program": PROGRAM, "systemd": SYSTEMD}
    masked, target = " ".join(HOST_SERVICES), TARGET.replace("\n", "\\n")
    script = BOOT.format(**values, masked=masked, target=target)
    apart = [
        "unshare",
        "--mount",
        "--propagation=private",
        "--pid",
        "--fork",
        "--kill-child",
        "--cgroup",
        "--ipc",
        "--uts",
    ]
    with (
        (folder.parent / "boot.log").open("wb") as log,
        subprocess.Popen([*apart, "sh", "-c", script], stdout=log, stderr=log) as process,
    ):
        try:
            wait_until(
                lambda: _child(process) and Booted(_child(process)).shows("tests.target", "ActiveState") == "active"
            )
            yield Booted(_child(process))
        finally:
            process.kill()


def _child(process: subprocess.Popen[bytes]) -> int:
    """Return the first process there, 0 before it is systemd."""
    found = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return int(found[0]) if found and Path(f"/proc/{found[0]}/comm").read_text() == "systemd\n" else 0
