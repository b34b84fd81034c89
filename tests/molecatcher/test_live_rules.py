import os
from pathlib import Path

import pytest
from observations import NOW_NS
from structlog.testing import capture_logs

from molecatcher.live_rules import LiveRules
from rules.catalogue.catalogue import Catalogue, load_catalogue
from rules.errors import InvalidPolicy

SANCTION = '[[sanctioned]]\ndomain = "{}"\nservice = "ngrok"\nowner = "o"\nreason = "r"\n'


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_catalogue()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "policy.toml"
    file.write_text(SANCTION.format("tunnels.example.com"))
    return file


def live(catalogue: Catalogue, path: Path | None) -> LiveRules:
    return LiveRules(catalogue, path, lambda: NOW_NS)


def test_a_changed_file_takes_effect_without_a_restart(catalogue: Catalogue, path: Path) -> None:
    rules = live(catalogue, path)
    assert not rules.poll()
    path.write_text(SANCTION.format("edge.example.com"))
    assert rules.poll()
    assert rules().policy.sanction_for("edge.example.com", NOW_NS) is not None
    assert rules().policy.sanction_for("tunnels.example.com", NOW_NS) is None


def test_a_replaced_file_is_noticed_although_size_and_time_are_the_same(catalogue: Catalogue, path: Path) -> None:
    rules, before = live(catalogue, path), path.stat()
    new = path.with_suffix(".new")
    new.write_text(SANCTION.format("tunnelz.example.com"))
    os.utime(new, ns=(before.st_atime_ns, before.st_mtime_ns))
    new.rename(path)
    assert rules.poll()


@pytest.mark.parametrize("broken", ["[[sanctioned]]\n", "=", SANCTION.format("com"), "\x00"])
def test_a_broken_file_keeps_the_old_policy_and_says_so(catalogue: Catalogue, path: Path, broken: str) -> None:
    rules = live(catalogue, path)
    path.write_text(broken)
    with capture_logs() as logs:
        assert not rules.poll()
    assert rules().policy.sanction_for("tunnels.example.com", NOW_NS) is not None
    assert str(path) in rules.error
    assert [row["event"] for row in logs] == ["policy_refused"]
    path.write_text(SANCTION.format("edge.example.com"))
    assert rules.poll()
    assert rules.error == ""


def test_a_removed_file_keeps_the_old_policy(catalogue: Catalogue, path: Path) -> None:
    rules = live(catalogue, path)
    path.unlink()
    assert not rules.poll()
    assert "cannot be read" in rules.error
    assert rules().policy.sanctions


def test_an_unreadable_policy_ends_the_start_with_one_sentence(catalogue: Catalogue, tmp_path: Path) -> None:
    with pytest.raises(InvalidPolicy, match="--policy"):
        live(catalogue, tmp_path / "missing.toml")
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidPolicy, match="UTF-8"):
        live(catalogue, binary)


def test_no_file_means_an_empty_policy(catalogue: Catalogue) -> None:
    rules = live(catalogue, None)
    assert not rules.poll()
    assert not rules().policy.sanctions


def test_a_file_cut_to_nothing_while_it_is_written_withdraws_no_sanction(catalogue: Catalogue, path: Path) -> None:
    rules = live(catalogue, path)
    path.write_bytes(b"")
    assert not rules.poll()
    assert "is empty" in rules.error
    assert rules().policy.sanctions
    path.write_text("# nobody may\n")
    assert rules.poll()
    assert rules.error == ""
    assert not rules().policy.sanctions


def test_a_file_whose_mode_was_mended_is_read_again(catalogue: Catalogue, path: Path) -> None:
    rules = live(catalogue, path)
    path.chmod(0o604)
    with capture_logs() as logs:
        rules.poll()
    assert [row["event"] for row in logs] == ["policy_loaded"]
