import os
import shutil
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest
from mix import write_mix

import rules.compiled
import rules.matching.names

ROOT = Path(rules.compiled.__file__).parents[1]
IS_COMPILED = (ROOT / "rules" / "matching" / f"names{EXTENSION_SUFFIXES[0]}").exists()
FORMS = """
import sensor.extract.tls, sensor.pipeline
from rules.matching import names
from sensor.capture.offline import heads
print(heads.IS_COMPILED, names.__file__, sensor.extract.tls.__file__, sensor.pipeline.__file__)
"""
REPLAY = "from molecatcher.cli import main; main()"

pytestmark = pytest.mark.skipif(not IS_COMPILED, reason="there was no compiler at install")


def python(program: str, *arguments: str, is_pure: bool = False, folder: Path = ROOT) -> str:
    environment = {key: value for key, value in os.environ.items() if key != rules.compiled.PURE_PYTHON}
    environment |= {"PYTHONPATH": str(folder), "MOLECATCHER_PURE_PYTHON": "1" if is_pure else ""}
    command = [sys.executable, "-P", "-c", program, *arguments]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for package in ("rules", "sensor"):
        shutil.copytree(ROOT / package, tmp_path / package)
    for path in tmp_path.rglob(f"*{EXTENSION_SUFFIXES[0]}"):
        path.touch()
    shutil.copy2(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def is_source(forms: str) -> list[bool]:
    return [form.endswith(".py") for form in forms.split()[1:]]


def test_compiled_modules_are_taken_while_they_are_newer_than_their_sources(checkout: Path) -> None:
    assert is_source(python(FORMS, folder=checkout)) == [False] * 3
    changed = checkout / "sensor" / "flows" / "flow.py"
    changed.touch()
    os.utime(changed, (changed.stat().st_mtime + 5,) * 2)
    forms = python(FORMS, folder=checkout)
    assert is_source(forms) == [True] * 3
    assert forms.startswith("True")  # the walk over capture files does not depend on them


@pytest.mark.parametrize("name", ["bpf/flow_policy.h", "compiled/screen_flows.h"])
def test_the_walk_over_files_is_taken_while_it_is_newer_than_its_sources(name: str, checkout: Path) -> None:
    os.utime(checkout / "sensor" / "capture" / name, (4_000_000_000,) * 2)
    forms = python(FORMS, folder=checkout)
    assert forms.startswith("False")
    assert is_source(forms) == [False] * 3


def test_an_installed_package_does_not_compare_times(checkout: Path) -> None:
    (checkout / "pyproject.toml").unlink()
    os.utime(checkout / "sensor" / "flows" / "flow.py", (4_000_000_000,) * 2)
    assert is_source(python(FORMS, folder=checkout)) == [False] * 3


def test_pure_python_can_be_asked_for(checkout: Path) -> None:
    forms = python(FORMS, folder=checkout, is_pure=True)
    assert forms.startswith("False")
    assert is_source(forms) == [True] * 3


def test_both_forms_detect_the_same(checkout: Path, tmp_path: Path) -> None:
    mix = tmp_path / "mix.pcap"
    write_mix(mix, 60_000)
    for package in ("api", "db", "molecatcher"):
        shutil.copytree(ROOT / package, checkout / package)
    files = [str(mix), *sorted(map(str, (ROOT / "pcaps").glob("*.pcap")))]
    compiled, pure = (
        python(REPLAY, "replay", "--format", "json", *files, folder=checkout, is_pure=is_pure)
        for is_pure in (False, True)
    )
    assert len(compiled.splitlines()) > 250
    assert compiled == pure
