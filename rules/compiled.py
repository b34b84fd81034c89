"""Which of two forms of a module is imported: the one that setup.py compiled, or its source.

Sources are taken where they are newer than what was compiled from them, so that whoever changes one and runs it sees
the change, and where MOLECATCHER_PURE_PYTHON is set. All of them at once: compiled modules know the layout of each
other's objects.
"""

import os
import sys
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES, FileFinder, SourceFileLoader
from pathlib import Path

PURE_PYTHON = "MOLECATCHER_PURE_PYTHON"

_ROOT = Path(__file__).parents[1]
_FOLDERS = ("rules", "sensor", "sensor/extract")
_WALK_FOLDER = "sensor/capture"  # its compiled module has no source in Python: sensor.capture.plain_heads takes over
_WALK_SOURCES = ("_heads.c", "bpf/flow_policy.h", "bpf/packet.h")


def choose_form() -> None:
    """Let the import system find sources only, if it must; call it before any module that may be compiled."""
    if os.environ.get(PURE_PYTHON):
        _take_sources((*_FOLDERS, _WALK_FOLDER))
        return
    if not (_ROOT / "pyproject.toml").exists():  # installed: nobody changes a source there
        return
    if _is_stale():
        _take_sources(_FOLDERS)
    if _is_walk_stale():
        _take_sources((_WALK_FOLDER,))


def _is_stale() -> bool:
    """Tell whether a source was changed since it was compiled."""
    suffix = EXTENSION_SUFFIXES[0]
    compiled = [path for folder in _FOLDERS for path in (_ROOT / folder).glob(f"*{suffix}")]
    return any(
        _modified_ns(path.with_name(path.name.removesuffix(suffix) + ".py")) > _modified_ns(path) for path in compiled
    )


def _is_walk_stale() -> bool:
    folder = _ROOT / _WALK_FOLDER
    compiled_ns = _modified_ns(folder / f"_heads{EXTENSION_SUFFIXES[0]}")
    return any(_modified_ns(folder / name) > compiled_ns for name in _WALK_SOURCES)


def _modified_ns(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


def _take_sources(folders: tuple[str, ...]) -> None:
    for folder in folders:
        path = str(_ROOT / folder)
        sys.path_importer_cache[path] = FileFinder(path, (SourceFileLoader, SOURCE_SUFFIXES))
