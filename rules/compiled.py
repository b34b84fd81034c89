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
_FOLDERS = (
    *("rules/classification", "rules/matching", "sensor"),
    *(f"sensor/{name}" for name in ("decoding", "detection", "extract", "flows", "names")),
)
_C_FOLDER = "sensor/capture/compiled"  # no sources in Python: plain_heads, ring and screening do without
_C_MODULES = ("_heads", "_ring", "_screen")


def choose_form() -> None:
    """Let the import system find sources only, if it must; call it before any module that may be compiled."""
    if os.environ.get(PURE_PYTHON):
        _take_sources((*_FOLDERS, _C_FOLDER))
        return
    if not (_ROOT / "pyproject.toml").exists():  # installed: nobody changes a source there
        return
    if _is_stale():
        _take_sources(_FOLDERS)
    if _is_c_stale():
        _take_sources((_C_FOLDER,))


def _is_stale() -> bool:
    """Tell whether a source was changed since it was compiled."""
    suffix = EXTENSION_SUFFIXES[0]
    compiled = [path for folder in _FOLDERS for path in (_ROOT / folder).glob(f"*{suffix}")]
    return any(
        _modified_ns(path.with_name(path.name.removesuffix(suffix) + ".py")) > _modified_ns(path) for path in compiled
    )


def _is_c_stale() -> bool:
    folder = _ROOT / _C_FOLDER
    compiled_ns = min(_modified_ns(folder / f"{name}{EXTENSION_SUFFIXES[0]}") for name in _C_MODULES)
    sources = (*folder.glob("*.[ch]"), *(folder.parent / "bpf").glob("*.h"))
    return any(_modified_ns(path) > compiled_ns for path in sources)


def _modified_ns(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


def _take_sources(folders: tuple[str, ...]) -> None:
    for folder in folders:
        path = str(_ROOT / folder)
        sys.path_importer_cache[path] = FileFinder(path, (SourceFileLoader, SOURCE_SUFFIXES))
