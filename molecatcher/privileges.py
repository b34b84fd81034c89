"""What root gives up: the program runs as an ordinary user, its sensor with two capabilities and its API with none.

util-linux `setpriv` does the work, so that what runs afterwards has no code that could undo it.
"""

import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from molecatcher.errors import SetupError
from molecatcher.settings import Settings
from sensor.capture.live.namespaces import named_namespaces

log = structlog.get_logger()

# include/uapi/linux/capability.h
CAPABILITIES: Final = {"dac_read_search": 2, "net_raw": 13, "sys_ptrace": 19, "sys_admin": 21, "bpf": 39}
CAPTURE: Final = ("net_raw", "bpf")
ENTER: Final = ("sys_admin", "sys_ptrace")  # network namespaces; the sensor gives them up once it is inside
ATTRIBUTE: Final = ("sys_ptrace", "dac_read_search")  # what /proc/PID/fd of another user takes
READ_ANYWHERE: Final = "dac_read_search"  # only for a clone in a folder that the user cannot enter
KEEPS_RIGHT: Final = "MOLECATCHER_READS_ANYWHERE"  # in the environment: every process needs that right
PACKAGES = ("api", "db", "molecatcher", "rules", "sensor")

CHECK_TIMEOUT_S = 30
CHECK_PROGRAM = """
import os, sys
for path in sys.argv[2:]:
    inside = [entry.path for entry in os.scandir(path)] if os.path.isdir(path) and os.access(path, os.R_OK) else []
    for wanted in (path, *inside):
        mode = os.R_OK | (os.X_OK if os.path.isdir(wanted) else 0)
        if "/." not in wanted.removeprefix(path) and not os.access(wanted, mode):
            sys.exit(f"{wanted} cannot be read")
if sys.argv[1] and not os.access(sys.argv[1], os.R_OK | os.W_OK | os.X_OK):
    sys.exit(f"{sys.argv[1]} cannot be written")
"""


@dataclass(frozen=True, slots=True)
class Access:
    """Whether a user can run the program; if not, `remedy` is one sentence that says why and what to do."""

    ok: bool
    remedy: str = ""


def give_up_root(settings: Settings) -> None:
    """Return for an ordinary user; for root, replace this process by the same command as `settings.user`.

    Where that user cannot read the program (a clone under /root), it keeps the right to read files, and says so.

    Raises:
        SetupError: That user does not exist, is root, cannot start the interpreter or cannot have the state directory.
    """
    if os.geteuid() != 0:
        return
    try:
        user = pwd.getpwnam(settings.user)
    except KeyError:
        raise SetupError(f"there is no user {settings.user}: `make user` makes it, or set MOLECATCHER_USER") from None
    if user.pw_uid == 0:
        raise SetupError(f"user {settings.user} is root, whom the program gives up: set MOLECATCHER_USER to another")
    prepare_state(settings.state, user.pw_uid, user.pw_gid)
    readable = [*program_folders(), *([settings.policy] if settings.policy else [])]
    access = can_user_run(user.pw_name, readable, settings.state)
    rights = available(dict.fromkeys((*capture_rights(settings), *ATTRIBUTE)))
    if not access.ok:
        log.warning("user_keeps_right_to_read_every_file", user=user.pw_name, remedy=access.remedy)
        os.environ[KEEPS_RIGHT] = "1"
    os.environ["MOLECATCHER_STATE"] = str(settings.state)  # an ordinary user's default would be another place
    program = [sys.executable, "-P", "-m", "molecatcher"]  # -P: whatever lies in the current directory is not ours
    argv = as_user(user.pw_name, [*program, *sys.argv[1:]], rights)
    os.execvp(argv[0], argv)  # noqa: S606 - no shell is wanted


def as_user(user: str, argv: Sequence[str], capabilities: Sequence[str] = ()) -> list[str]:
    """Return the command that runs `argv` as `user` with exactly `capabilities`; only root can run it."""
    group = str(pwd.getpwnam(user).pw_gid)
    identity = ["--reuid", user, "--regid", group, "--clear-groups"]
    # access(2) looks at the capabilities of an ordinary user only with this bit; libraries ask it whether files exist
    bits = ["--securebits", "+no_setuid_fixup"] if READ_ANYWHERE in capabilities else []
    return [_setpriv(), *identity, *bits, *_limits(capabilities), "--", *argv]


def capture_rights(settings: Settings) -> tuple[str, ...]:
    """Return the capabilities that a sensor with these settings starts with."""
    has_namespaces = bool(named_namespaces(settings.interface, settings.netns))
    return (*CAPTURE, *ENTER) if has_namespaces else CAPTURE


def with_capture_rights(argv: Sequence[str], rights: Sequence[str] = CAPTURE) -> list[str]:
    """Return the command that runs `argv` with `rights`, as far as this process has them, and no others."""
    return _as_child(argv, available([*rights, *_kept_right()]))


def attribution_rights() -> tuple[str, ...]:
    """Return what naming other users' processes takes, if this process has all of it to pass on."""
    rights = available(ATTRIBUTE)
    return rights if rights == ATTRIBUTE else ()


def with_rights(argv: Sequence[str], rights: Sequence[str]) -> list[str]:
    """Return the command that runs `argv` with exactly `rights`, which this process has."""
    return _as_child(argv, rights)


def without_rights(argv: Sequence[str]) -> list[str]:
    """Return the command that runs `argv` without any capability."""
    return _as_child(argv, available(_kept_right()))


def available(capabilities: Iterable[str]) -> tuple[str, ...]:
    """Return those of `capabilities` that this process may pass on; kernels before 5.8 have no CAP_BPF."""
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    masks = [int(line.split()[1], 16) for line in status if line.startswith(("CapPrm:", "CapBnd:"))]
    return tuple(name for name in capabilities if all(mask >> CAPABILITIES[name] & 1 for mask in masks))


def can_user_run(user: str, paths: Sequence[Path], state: Path | None = None) -> Access:
    """Return whether `user` can start this interpreter, read `paths` (with what lies in them) and write `state`.

    Tried as that user, so that access lists and security modules count. Costs a start of Python, 30 ms.
    """
    wanted = [sys.executable, *map(str, paths)]  # itself too: setpriv still has root's rights when it executes it
    check = [sys.executable, "-I", "-S", "-c", CHECK_PROGRAM, str(state or ""), *wanted]
    try:
        command = as_user(user, check)
        done = subprocess.run(command, capture_output=True, text=True, timeout=CHECK_TIMEOUT_S, check=False, cwd="/")
    except subprocess.TimeoutExpired:
        return Access(ok=False, remedy=f"user {user} could not start {sys.executable} within {CHECK_TIMEOUT_S} s")
    if done.returncode == 0:
        return Access(ok=True)
    said = done.stderr.strip().splitlines() or ["it ended without a word"]
    advice = "move the clone out of /root (to /opt/molecatcher) and let that user read it, or set MOLECATCHER_USER"
    return Access(ok=False, remedy=f"user {user} cannot run Molecatcher ({said[-1]}): {advice}")


def prepare_state(path: Path, uid: int, gid: int) -> None:
    """Make the directory `path` exist, owned by `uid` and `gid`, with mode 0700; parents are made for root.

    A directory that exists is taken only if it belongs to `uid` already or is empty and the caller's own, so that a
    mistyped `--state /etc` changes nothing.

    Raises:
        SetupError: It is something else; the message says what to do.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            _take(descriptor, path, uid, gid)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise SetupError(f"state directory {path}: {error.strerror}; choose another with --state") from error


def program_folders() -> list[Path]:
    """Return the folders that this program is read from: its packages and the libraries that they use."""
    here = Path(__file__).resolve().parent.parent
    return [*(here / name for name in PACKAGES), Path(sysconfig.get_path("purelib"))]


def _take(descriptor: int, path: Path, uid: int, gid: int) -> None:
    """Make an open directory `uid`'s own; its name may meanwhile mean something else, the descriptor may not."""
    owner = os.fstat(descriptor).st_uid
    if owner not in {uid, os.geteuid()}:
        raise SetupError(f"state directory {path} belongs to user {owner}; choose another with --state")
    if owner != uid:
        if os.listdir(descriptor):
            advice = f"`chown -R {uid}:{gid} {path}` if it is Molecatcher's, or choose another with --state"
            raise SetupError(f"state directory {path} is not empty and belongs to user {owner}: {advice}")
        os.fchown(descriptor, uid, gid)
    os.fchmod(descriptor, 0o700)


def _as_child(argv: Sequence[str], capabilities: Sequence[str]) -> list[str]:
    """The command of a process that gets SIGTERM when the thread that started it ends, however it ends."""
    return [_setpriv(), *_limits(capabilities), "--pdeathsig", "TERM", "--", *argv]


def _limits(capabilities: Sequence[str]) -> list[str]:
    """The options that leave exactly `capabilities` (ambient ones: capabilities(7)) and no way to more."""
    exactly = _exactly(capabilities)
    bounding = [f"--bounding-set={exactly}"] if os.geteuid() == 0 else []  # needs CAP_SETPCAP
    return [f"--inh-caps={exactly}", f"--ambient-caps={exactly}", *bounding, "--no-new-privs"]


def _kept_right() -> tuple[str, ...]:
    """Return the right to read every file if `give_up_root` found that this ordinary user's processes need it."""
    return (READ_ANYWHERE,) if os.geteuid() and KEEPS_RIGHT in os.environ else ()


def _exactly(capabilities: Iterable[str]) -> str:
    return ",".join(["-all", *(f"+{name}" for name in capabilities)])


def _setpriv() -> str:
    path = shutil.which("setpriv")
    if path is None:
        raise SetupError("`setpriv` is missing: apt-get install util-linux")
    return path
