"""Builds the compiled part where there is a C compiler: the walk over capture files, and the modules that read heads.

The program works without it, at more CPU a packet. All of it is built or nothing: compiled modules know the layout of
each other's objects.
"""

import os
import shutil
import sys
import sysconfig
import time
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CCompilerError, ExecError, PlatformError

# What reads and judges heads, by mypyc. Not among them: modules of values alone (see rules.values), and what runs
# once a batch.
COMPILED = (
    *(f"rules/classification/{name}.py" for name in ("classify", "ingress", "interest", "lies", "tells")),
    *(f"rules/matching/{name}.py" for name in ("matcher", "names")),
    "sensor/pipeline.py",
    *(f"sensor/decoding/{name}.py" for name in ("decode", "link")),
    *(f"sensor/detection/{name}.py" for name in ("candidates", "clients", "detect")),
    *(
        f"sensor/flows/{name}.py"
        for name in ("flow", "half_open", "kept_packets", "reader", "reassembly", "report", "side_reading")
    ),
    *(f"sensor/names/{name}.py" for name in ("correlate", "dns_shapes", "dns_transactions")),
    *(
        f"sensor/extract/{name}.py"
        for name in (
            *("dns", "dns_tunnel", "handshake", "http", "ja4", "quic", "socks", "ssh", "stream", "text", "tls"),
            "tunnel_stream",
        )
    ),
)
C_PARTS = tuple(f"sensor/capture/compiled/{name}" for name in ("_heads", "_ring", "_screen"))
STARTED_S = time.time()
HEADERS = sorted(map(str, Path("sensor/capture").rglob("*.h")))
COMMANDS = {"bdist_wheel", "build_ext", "editable_wheel"}


class AllOrNothing(build_ext):
    """Builds every extension, or says why there is none."""

    def run(self) -> None:
        """Build them, and date those in a checkout back to before their sources were read (rules.compiled compares)."""
        super().run()
        for extension in self.extensions if self.inplace else ():
            os.utime(self.get_ext_fullpath(extension.name), (STARTED_S, STARTED_S))

    def build_extensions(self) -> None:
        """Build them; a compiler that fails leaves pure Python."""
        try:
            super().build_extensions()
        except (CCompilerError, ExecError, PlatformError) as error:
            self.extensions = []
            sys.stderr.write(f"the compiled part was not built, replay takes more CPU: {error}\n")


def extensions() -> list[Extension]:
    """Return the extensions to build; none where nothing can be compiled, or MOLECATCHER_PURE_PYTHON is set."""
    if not COMMANDS.intersection(sys.argv) or os.environ.get("MOLECATCHER_PURE_PYTHON"):
        return []
    if shutil.which("cc") is None or not Path(sysconfig.get_path("include"), "Python.h").exists():
        sys.stderr.write("no C compiler with Python's headers (gcc, python3-dev): replay takes more CPU\n")
        return []
    from mypyc.build import mypycify  # noqa: PLC0415 - slow to import, and most commands build nothing

    parts = [Extension(path.replace("/", "."), [f"{path}.c"], depends=HEADERS) for path in C_PARTS]
    return [*parts, *mypycify(list(COMPILED), opt_level="2", group_name="rules.heads")]


setup(ext_modules=extensions(), cmdclass={"build_ext": AllOrNothing})
