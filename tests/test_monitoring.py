"""Alert rules and dashboard: promtool takes them, the rules fire when they should, and every metric exists."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from installation import Installation

from api.app import create_app
from api.metrics import exposition
from db.output_values import Output, OutputFilter, OutputKind
from db.store import open_store

FOLDER = Path(__file__).parents[1] / "docs" / "monitoring"
METRIC = re.compile(r"\bmolecatcher_[a-z_]+")
needs_promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="promtool is missing (apt-get install prometheus)"
)


def promtool(*argv: str) -> None:
    ended = subprocess.run(["promtool", *argv], cwd=FOLDER, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@needs_promtool
def test_promtool_takes_the_rules() -> None:
    promtool("check", "rules", "--lint=all", "--lint-fatal", "alerts.yml")


@needs_promtool
def test_every_alert_fires_when_it_should() -> None:
    promtool("test", "rules", "alerts_test.yml")
    alerts = set(re.findall(r"alert: (\w+)", (FOLDER / "alerts.yml").read_text()))
    tested = (FOLDER / "alerts_test.yml").read_text()
    assert {name for name in alerts if name not in tested} == set()


@needs_promtool
def test_the_dashboard_asks_what_prometheus_understands(tmp_path: Path) -> None:
    panels = json.loads((FOLDER / "dashboard.json").read_text())["panels"]
    expressions = [target["expr"] for panel in panels for target in panel["targets"]]
    rules = [f"      - {{record: dashboard:{at}, expr: {json.dumps(text)}}}" for at, text in enumerate(expressions)]
    file = tmp_path / "dashboard.yml"
    file.write_text("\n".join(["groups:", "  - name: dashboard", "    rules:", *rules]) + "\n")
    promtool("check", "rules", str(file))
    assert len(expressions) > 12


def test_every_metric_exists(tmp_path: Path) -> None:
    with open_store(tmp_path / "events.db") as store:
        installation = Installation(store, tmp_path / "events.db")
        installation.beat()
        installation.publish_both()
        output = Output(
            output_id="o",
            name="soar",
            kind=OutputKind.WEBHOOK,
            target={},
            wanted=OutputFilter(),
            secrets=b"",
            created_by="alice",
            created_at_ns=0,
            place=0,
        )
        assert store.outputs.add_output(output)
        app = create_app(installation.context())
        app.state.metrics.count("GET", "/v1/events", 200, 0.01)
        text = exposition(app.state.registry).decode()
    known = {row.partition("{")[0].partition(" ")[0] for row in text.splitlines() if not row.startswith("#")}
    families = set(re.findall(r"# TYPE (\S+)", text))
    for name in ("alerts.yml", "dashboard.json"):
        named = set(METRIC.findall((FOLDER / name).read_text()))
        assert len(named) > 10
        assert named <= known | families, name
