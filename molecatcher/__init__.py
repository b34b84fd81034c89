"""Command line, settings and wiring."""

from importlib.metadata import version

__version__ = version("molecatcher")
