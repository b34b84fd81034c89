import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "systemd"
UNITS = sorted(FOLDER.glob("*.service"))
FETCH = FOLDER / "molecatcher-fetch@.service"
SERVERS = [unit for unit in UNITS if unit != FETCH]
PROGRAM = "/opt/molecatcher/.venv/bin/molecatcher"
OWN_PROGRAM = Path(sys.executable).with_name("molecatcher")
HIGHEST_EXPOSURE = 2.0
CAPTURE = "CAP_NET_RAW CAP_BPF"
RIGHTS = {
    "molecatcher": CAPTURE,
    "molecatcher-api": "",
    "molecatcher-attribution": "CAP_SYS_PTRACE CAP_DAC_READ_SEARCH",
    "molecatcher-enforce": "CAP_NET_ADMIN",
    "molecatcher-fetch@": "CAP_NET_ADMIN CAP_KILL",
    "molecatcher-sensor": CAPTURE,
}
WITHOUT_POLICY = {
    "molecatcher-attribution": "attribute --state /var/lib/molecatcher",
    "molecatcher-enforce": "enforce apply /var/lib/molecatcher/addresses.txt --follow 30",
}

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is missing")
each_unit = pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
each_server = pytest.mark.parametrize("unit", SERVERS, ids=lambda unit: unit.stem)


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, env={"LC_ALL": "C.UTF-8"})


def values(unit: Path, key: str) -> list[str]:
    return [line.partition("=")[2] for line in unit.read_text().splitlines() if line.startswith(key + "=")]


def syscalls(group: str) -> set[str]:
    """The system calls of a group such as `@privileged`."""
    words = [line.strip() for line in analyze("syscall-filter", group).stdout.splitlines()[1:]]
    names = {word for word in words if word and word[0] not in "#@"}
    return names.union(*(syscalls(word) for word in words if word.startswith("@")))


def allowed_syscalls(unit: Path) -> set[str]:
    """What the unit's filter lets through, its lines taken in order."""
    allowed: set[str] = set()
    for line in values(unit, "SystemCallFilter"):
        named = {word for word in line.removeprefix("~").split() if not word.startswith("@")}
        named = named.union(*(syscalls(word) for word in line.removeprefix("~").split() if word.startswith("@")))
        allowed = allowed - named if line.startswith("~") else allowed | named
    return allowed


def test_every_unit_has_its_rights_written_down() -> None:
    assert {unit.stem for unit in UNITS} == set(RIGHTS)


@needs_systemd
@each_unit
def test_a_unit_is_well_formed(unit: Path, tmp_path: Path) -> None:
    program = tmp_path / "molecatcher"
    program.touch(mode=0o755)
    documented = tmp_path / unit.name
    documented.write_text(unit.read_text().replace(PROGRAM, str(program)))
    done = analyze("verify", "--man=no", str(documented))
    mentioned = [line for line in done.stderr.splitlines() if "molecatcher" in line]
    assert (done.returncode, mentioned) == (0, [])


@needs_systemd
@each_unit
def test_a_unit_is_little_exposed(unit: Path) -> None:
    done = analyze("security", "--offline=true", str(unit))
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert found, done.stderr
    assert float(found[1]) <= HIGHEST_EXPOSURE


@each_unit
def test_each_unit_has_just_the_capabilities_it_needs(unit: Path) -> None:
    expected = RIGHTS[unit.stem]
    assert values(unit, "AmbientCapabilities") == [expected]
    assert values(unit, "CapabilityBoundingSet") == [expected]
    assert ("AF_PACKET" in values(unit, "RestrictAddressFamilies")[0]) == (expected == CAPTURE)


@needs_systemd
@each_unit
def test_the_filter_leaves_what_the_program_calls(unit: Path) -> None:
    allowed = allowed_syscalls(unit)
    assert {"recvmsg", "setsockopt", "epoll_wait", "futex", "openat", "prlimit64", "execve"} <= allowed
    assert not {"setuid", "chroot", "mount", "init_module", "setpriority", "ptrace"} & allowed
    assert ("bpf" in allowed) == (RIGHTS[unit.stem] == CAPTURE)
    assert ("capset" in allowed) == (unit.stem == "molecatcher")


@each_server
def test_a_unit_says_how_it_does_and_comes_back(unit: Path) -> None:
    assert values(unit, "Type") == ["notify"]
    assert int(values(unit, "WatchdogSec")[0]) >= 30
    assert values(unit, "Restart") == ["always"]
    assert values(unit, "User") == ["molecatcher"]
    if unit.stem in WITHOUT_POLICY:
        assert values(unit, "ExecStart") == [f"{PROGRAM} {WITHOUT_POLICY[unit.stem]}"]
        return
    assert values(unit, "ExecReload") == ["/bin/kill -HUP $MAINPID"]
    command = {"molecatcher": "run", "molecatcher-api": "serve", "molecatcher-sensor": "sensor"}[unit.stem]
    options = "--state /var/lib/molecatcher --policy /etc/molecatcher/policy.toml"
    assert values(unit, "ExecStart") == [f"{PROGRAM} {command} {options}"]


@needs_systemd
def test_the_timer_of_a_pull_is_well_formed(tmp_path: Path) -> None:
    program = tmp_path / "molecatcher"
    program.touch(mode=0o755)
    for unit in (FETCH, FETCH.with_suffix(".timer")):
        (tmp_path / unit.name).write_text(unit.read_text().replace(PROGRAM, str(program)))
    done = analyze("verify", "--man=no", str(tmp_path / FETCH.with_suffix(".timer").name))
    mentioned = [line for line in done.stderr.splitlines() if "molecatcher" in line]
    assert (done.returncode, mentioned) == (0, [])


@pytest.mark.parametrize("token", ["", "mc_0123456789ab_" + "0" * 64])
def test_a_pull_takes_the_words_of_its_unit(tmp_path: Path, token: str) -> None:
    """The command line as systemd makes it, with a server that is not there."""
    (line,) = values(FETCH, "ExecStart")
    (tmp_path / "token").write_text(token)
    meant = {"${URL}": "http://127.0.0.1:9/feeds/x.nft", "${HOOK}": "", "${CREDENTIALS_DIRECTORY}": str(tmp_path)}
    words = line.replace("/var/lib/molecatcher-fetch/%i", str(tmp_path / "x.nft")).split()
    for name, value in meant.items():
        words = [word.replace(name, value) for word in words]
    assert words.pop(0) == PROGRAM
    done = subprocess.run([OWN_PROGRAM, *words], check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert "the list could not be had" in done.stderr


@each_unit
def test_no_key_is_given_twice_by_mistake(unit: Path) -> None:
    keys = [line.partition("=")[0] for line in unit.read_text().splitlines() if re.match(r"[A-Z]\w+=", line)]
    repeated = {key for key in keys if keys.count(key) > 1}
    assert repeated <= {"SystemCallFilter", "IPAddressAllow"}


@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="systemd-sysusers is missing")
def test_the_user_is_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    command = ["systemd-sysusers", f"--root={tmp_path}", str(FOLDER / "sysusers.d" / "molecatcher.conf")]
    subprocess.run(command, check=True, capture_output=True)
    (line,) = (tmp_path / "etc" / "passwd").read_text().splitlines()
    assert line.startswith("molecatcher:")
    assert line.endswith(":/var/lib/molecatcher:/usr/sbin/nologin")


@pytest.mark.skipif(shutil.which("systemd-tmpfiles") is None, reason="systemd-tmpfiles is missing")
def test_the_folders_are_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "passwd").write_text("root:x:0:0::/root:/bin/sh\nmolecatcher:x:0:0::/:/bin/false\n")
    (tmp_path / "etc" / "group").write_text("root:x:0:\nmolecatcher:x:0:\n")
    command = ["systemd-tmpfiles", "--create", f"--root={tmp_path}", str(FOLDER / "tmpfiles.d" / "molecatcher.conf")]
    subprocess.run(command, check=True, capture_output=True)
    assert (tmp_path / "etc/molecatcher").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "var/lib/molecatcher").stat().st_mode & 0o777 == 0o700
