"""Updates and additions below a state directory, and rules that follow them while the program runs."""

from pathlib import Path

import pytest
from observations import NOW_NS
from structlog.testing import capture_logs

from molecatcher.catalogue.bundles import pack
from molecatcher.catalogue.folder import CatalogueFolder
from molecatcher.errors import CatalogueError
from molecatcher.live_rules import LiveRules
from rules.catalogue.catalogue import SHARED_FILE, load_catalogue, read_files
from rules.errors import InvalidCatalogue

ADDED = 'extends = "ngrok"\n[add]\nagent_domains = ["dial.vendor.example"]\n'
SHIPPED = load_catalogue().version


def bundle(version: str, service: str = "") -> bytes:
    """A bundle like the shipped catalogue, of another version, perhaps without a service."""
    files = read_files()
    files[SHARED_FILE] = files[SHARED_FILE].replace(SHIPPED, version)
    if service:
        del files[f"services/{service}.toml"]
    return pack(files)


@pytest.fixture
def folder(tmp_path: Path) -> CatalogueFolder:
    return CatalogueFolder(tmp_path / "state", tmp_path / "catalogue.d")


def add(folder: CatalogueFolder, text: str, name: str = "vendor.toml") -> Path:
    folder.additions.mkdir(exist_ok=True)
    path = folder.additions / name
    path.write_text(text)
    return path


def test_an_update_is_in_force_until_it_is_rolled_back_and_again_after(folder: CatalogueFolder) -> None:
    assert (folder.load().version, folder.load().is_updated) == (SHIPPED, False)
    folder.install(bundle("2099.01.01", "horizon"), "2099.01.01", is_wanted=False)
    assert (folder.load().version, folder.load().is_updated) == ("2099.01.01", True)
    assert "horizon" not in folder.load().services
    folder.roll_back()
    assert (folder.load().version, "horizon" in folder.load().services) == (SHIPPED, True)
    folder.roll_back()
    assert folder.load().version == "2099.01.01"


def test_the_one_before_is_kept_and_no_more(folder: CatalogueFolder) -> None:
    for version in ("2099.01.01", "2099.01.02", "2099.01.03", "2099.01.03"):
        folder.install(bundle(version), version, is_wanted=False)
    kept = sorted(path.name[:10] for path in folder.folder.glob("2*.json"))
    assert kept == ["2099.01.02", "2099.01.03"]
    folder.roll_back()
    assert folder.load().version == "2099.01.02"


def test_a_newer_program_wins_over_an_older_update_unless_that_was_asked_for(folder: CatalogueFolder) -> None:
    folder.install(bundle("2020.01.01"), "2020.01.01", is_wanted=False)
    assert folder.load().version == SHIPPED
    folder.install(bundle("2020.01.01"), "2020.01.01", is_wanted=True)
    assert folder.load().version == "2020.01.01"


def test_without_an_update_there_is_nothing_to_roll_back(folder: CatalogueFolder) -> None:
    with pytest.raises(CatalogueError, match="none was ever updated"):
        folder.roll_back()


def test_damage_ends_with_a_sentence_that_says_what_to_do(folder: CatalogueFolder) -> None:
    folder.install(bundle("2099.01.01"), "2099.01.01", is_wanted=False)
    (update,) = folder.folder.glob("2099*")
    update.write_bytes(update.read_bytes()[:1000])
    with pytest.raises(InvalidCatalogue, match="catalogue rollback"):
        folder.load()
    (folder.folder / "in_force.json").write_text("{")
    with pytest.raises(InvalidCatalogue, match="remove it"):
        folder.load()


def test_additions_lie_over_an_update_too_and_must_fit_it(folder: CatalogueFolder) -> None:
    add(folder, ADDED.replace("ngrok", "horizon"))
    assert folder.load().match("dial.vendor.example") is not None
    with pytest.raises(InvalidCatalogue, match=r"/catalogue\.d/vendor\.toml: extends: 'horizon' is no service"):
        folder.build({path: text for path, text in read_files().items() if "horizon" not in path})


@pytest.mark.parametrize("octets", [b"\xff\xfe", b"#" * ((1 << 20) + 1)])
def test_an_addition_that_cannot_be_read_is_named(folder: CatalogueFolder, octets: bytes) -> None:
    add(folder, "").write_bytes(octets)
    with pytest.raises(InvalidCatalogue, match=r"vendor\.toml"):
        folder.load()


def test_running_rules_follow_additions_and_updates(folder: CatalogueFolder) -> None:
    rules = LiveRules(folder.load(), None, lambda: NOW_NS, folder)
    assert not rules.poll()
    path = add(folder, ADDED)
    assert rules.poll()
    assert rules().catalogue.match("dial.vendor.example") is not None
    assert not rules.poll()
    folder.install(bundle("2099.01.01"), "2099.01.01", is_wanted=False)
    assert rules.poll()
    assert (rules().catalogue.version, rules().catalogue.additions) == ("2099.01.01", ("vendor.toml",))
    path.unlink()
    assert rules.poll()
    assert rules().catalogue.match("dial.vendor.example") is None


def test_a_broken_catalogue_keeps_the_one_in_force_and_says_so_until_it_is_mended(folder: CatalogueFolder) -> None:
    rules = LiveRules(folder.load(), None, lambda: NOW_NS, folder)
    path = add(folder, "[[[")
    with capture_logs() as logs:
        assert not rules.poll()
    assert [row["event"] for row in logs] == ["catalogue_refused"]
    assert "vendor.toml" in rules.error
    assert rules().catalogue.version == SHIPPED
    path.write_text(ADDED)
    assert rules.poll()
    assert not rules.error


def test_a_catalogue_that_the_policy_does_not_fit_is_not_taken(folder: CatalogueFolder, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('[services]\nhorizon = "ignore"\n')
    rules = LiveRules(folder.load(), policy, lambda: NOW_NS, folder)
    folder.install(bundle("2099.01.01", "horizon"), "2099.01.01", is_wanted=False)
    assert not rules.poll()
    assert "horizon" in rules.error
    assert rules().catalogue.version == SHIPPED
    policy.write_text("# nothing\n")
    assert rules.poll()
    assert rules().catalogue.version == "2099.01.01"
