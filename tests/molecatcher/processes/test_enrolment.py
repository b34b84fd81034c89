"""What enrolment leaves on this host, before any API is asked."""

import socket
import stat
from pathlib import Path

import pytest

from molecatcher.errors import SetupError
from molecatcher.processes.enrolment import Enrolment
from molecatcher.settings import Settings

CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
URL = "https://api.example:8484"


def test_the_authority_is_kept_for_its_owner_alone(tmp_path: Path) -> None:
    authority, state = tmp_path / "ca.pem", tmp_path / "state"
    authority.write_text(f"a word\n{CERTIFICATE}a key, by mistake\n")
    enrolment = Enrolment(Settings(state=state, api=URL), authority)
    assert enrolment.ca == state / "api_ca.pem"
    assert enrolment.ca.read_text() == CERTIFICATE
    assert stat.S_IMODE(enrolment.ca.stat().st_mode) == 0o600


def test_a_link_in_the_state_directory_is_not_followed(tmp_path: Path) -> None:
    authority, others, state = tmp_path / "ca.pem", tmp_path / "others", tmp_path / "state"
    authority.write_text(CERTIFICATE)
    others.write_text("not ours")
    others.chmod(0o644)
    state.mkdir()
    (state / "api_ca.pem").symlink_to(others)
    with pytest.raises(SetupError, match="cannot be written"):
        Enrolment(Settings(state=state, api=URL), authority)
    assert (others.read_text(), stat.S_IMODE(others.stat().st_mode)) == ("not ours", 0o644)


def test_a_sensor_is_told_its_name_and_site(tmp_path: Path) -> None:
    settings = Settings(state=tmp_path / "state", api="https://127.0.0.1:8484", sensor_name="gate 1", site="Berlin")
    enrolment = Enrolment(settings, None)
    assert enrolment.options().endswith(" --sensor-name 'gate 1' --site Berlin")
    origin = settings.origin(enrolment.sensor_id)
    assert (origin.sensor_id, origin.sensor_name, origin.site) == (enrolment.sensor_id, "gate 1", "Berlin")
    assert Settings(state=tmp_path).origin("id").sensor_name == socket.gethostname()
    with pytest.raises(ValueError, match="site"):
        Settings(state=tmp_path, site="two\nlines")


def test_systemd_replaces_nothing_in_the_command(tmp_path: Path) -> None:
    enrolment = Enrolment(Settings(state=tmp_path / "a%n$HOME", api="https://127.0.0.1:8484"), None)
    assert "/a%%n$$HOME" in enrolment.unit_settings()
