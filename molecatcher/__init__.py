"""Command line, settings and wiring."""


def __getattr__(name: str) -> str:
    """Return the version, `__version__`, once it is asked for: its reader is slow to import."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version  # noqa: PLC0415

    return version("molecatcher")
