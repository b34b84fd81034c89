"""The break-glass account from the command line: its password is shown once and kept as argon2."""

import subprocess
import sys
from pathlib import Path

from api.access.break_glass import is_good
from db.access.values import AuditFilter
from db.store import open_store


def account(state: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "molecatcher", "account", *argv, "--state", str(state)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_it_is_made_used_listed_and_removed(tmp_path: Path) -> None:
    first, second = (account(tmp_path, "create-break-glass").stdout.strip() for _ in range(2))
    with open_store(tmp_path / "molecatcher.db") as store:
        kept = store.account("emergency")
        assert kept is not None
        assert kept.password_hash.startswith("$argon2id$")
        assert not is_good(kept, first, is_loopback=True), "a new password ends the one before"
        assert is_good(kept, second, is_loopback=True)
        assert not is_good(kept, second, is_loopback=False)
        assert [row.action for row in store.audit(AuditFilter(), 9)] == ["account.create", "account.create"]
    assert "emergency" in account(tmp_path, "list").stdout
    assert account(tmp_path, "remove").returncode == 0
    assert account(tmp_path, "remove").returncode == 1
