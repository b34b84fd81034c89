"""Which screen there is: the compiled one, or the one in Python where there was no compiler at install."""

from sensor.capture.screening.compiled import IS_COMPILED, CompiledScreen
from sensor.capture.screening.plain import PlainScreen
from sensor.capture.screening.screen import Screen


def make_screen() -> Screen:
    """Return a new screen."""
    return CompiledScreen() if IS_COMPILED else PlainScreen()
