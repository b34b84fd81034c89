"""The templates' environment: everything is escaped, and nothing a packet said can hide or reverse text."""

import unicodedata
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from api.static_files import asset_urls
from api.times import NS_PER_S, relative
from rules.values.event import rfc3339

_KEPT = "\n"
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_ROUNDED_FROM = 100
_ONE_PERCENT = 0.01


@dataclass(frozen=True, slots=True)
class Templates:
    """Renders templates with what all of them may use."""

    environment: Environment

    def render(self, name: str, **values: object) -> str:
        """Return a template's HTML."""
        return self.environment.get_template(name).render(**values)


def make_templates(version: str) -> Templates:
    """Return the page's templates."""
    environment = Environment(
        loader=PackageLoader("api"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=visible,
    )
    environment.filters |= {"ago": relative, "exact": exact, "duration": duration}
    environment.filters |= {"capitalize_first": capitalized, "count": grouped, "octets": octets, "percent": percent}
    environment.globals |= {"assets": asset_urls(), "version": version}
    return Templates(environment)


def visible(value: object) -> object:
    """Return text with its invisible characters written out; direction overrides could reorder what is read."""
    if not isinstance(value, str) or isinstance(value, Markup) or value.isprintable():
        return value
    return "".join(character if _is_shown(character) else f"\\u{{{ord(character):x}}}" for character in value)


def exact(at_ns: int) -> str:
    """Return a time to the second, UTC."""
    return f"{rfc3339(at_ns - at_ns % NS_PER_S)[:19].replace('T', ' ')} UTC"


def grouped(number: int) -> str:
    """Return a whole number with its thousands apart."""
    return f"{number:,}".replace(",", "\u202f")


def capitalized(text: str) -> str:
    """Return a sentence with a capital at its beginning, all else as it is."""
    return text[:1].upper() + text[1:]


def percent(share: float) -> str:
    """Return a share as a whole percentage; what is little but not nothing does not look like nothing."""
    return f"{share:.0%}" if share in {0, 1} or share >= _ONE_PERCENT else "<1%"


def octets(number: int) -> str:
    """Return a number of octets in a unit that reads well."""
    power = min((len(str(number)) - 1) // 3, len(_UNITS) - 1)
    value = number / 1000**power
    digits = 1 if power and value < _ROUNDED_FROM else 0
    return f"{value:.{digits}f} {_UNITS[power]}"


def duration(milliseconds: int) -> str:
    """Return a length of time in its largest units: `40 ms`, `12 s`, `3 min 5 s`, `2 h 10 min`, `4 d 1 h`."""
    seconds = milliseconds // 1000
    if not seconds:
        return f"{milliseconds} ms"
    days, hours, minutes = seconds // 86_400, seconds // 3600 % 24, seconds // 60 % 60
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (seconds % 60, "s")]
    first = next(place for place, (number, _) in enumerate(parts) if number)
    return " ".join(f"{number} {unit}" for number, unit in parts[first : first + 2] if number)


def _is_shown(character: str) -> bool:
    return character in _KEPT or unicodedata.category(character)[0] not in "CZ" or character in " \u202f"
