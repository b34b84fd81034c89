"""What only the compiled screen does: a filter of names, a buffer of octets."""

import mmap
from pathlib import Path

import pytest
from screened import asked_about

from sensor.capture.screening import compiled
from sensor.capture.screening.compiled import CompiledScreen

pytestmark = pytest.mark.skipif(not compiled.IS_COMPILED, reason="there was no compiler at install")
if compiled.IS_COMPILED:
    from sensor.capture.compiled._screen import totals


def test_with_more_names_than_it_tells_apart_it_asks_about_all(tmp_path: Path) -> None:
    screen = CompiledScreen()
    screen.follow([], [f"{number}.example.net" for number in range(1_000_000)])
    names = [f"www.{number}.example.org" for number in range(100)]
    assert asked_about(names, screen, tmp_path) == set(names)


@pytest.mark.parametrize("wrong", [b"example.net", "example\ud800.net"])
def test_names_that_are_no_text_are_refused_and_all_are_asked_about_then(wrong: str, tmp_path: Path) -> None:
    screen = CompiledScreen()
    with pytest.raises((TypeError, UnicodeEncodeError)):
        screen.follow([], ["example.net", wrong, "example.org"])
    assert asked_about(["www.example.org"], screen, tmp_path) == {"www.example.org"}


def test_no_screen_takes_a_buffer_of_another_size() -> None:
    with pytest.raises(ValueError, match="another size"):
        totals(mmap.mmap(-1, 4096))
