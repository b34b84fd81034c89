import subprocess
import sys
from pathlib import Path

from sigma.collection import SigmaCollection


def test_a_file_a_rule_or_one_stream(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "molecatcher", "sigma"]
    printed = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    streamed = SigmaCollection.from_yaml(printed).rules
    subprocess.run([*argv, "--output", str(tmp_path / "rules")], check=True)
    files = sorted((tmp_path / "rules").iterdir())
    assert len(files) == len(streamed) > 200
    assert len(SigmaCollection.load_ruleset([tmp_path / "rules"]).rules) == len(files)


def test_a_folder_that_cannot_be_used_ends_it_with_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    argv = [sys.executable, "-m", "molecatcher", "sigma", "--output", str(tmp_path / "file" / "rules")]
    ended = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "--output" in ended.stderr
    assert "Traceback" not in ended.stderr
