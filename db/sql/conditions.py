"""What filters are made of, as SQL conditions; a value that is None asks for all."""

import ipaddress
from collections.abc import Mapping

from sqlalchemy import ColumnElement, or_

from db.sql.networks import in_network, network_of
from rules.matching.names import is_address


def of_address(column: ColumnElement[str], text: str | None) -> list[ColumnElement[bool]]:
    """Return that an address is the one in `text`, or lies in the network there."""
    network = network_of(text)
    return [in_network(column, network)] if network else equal({column: _address(text)})


def equal(wanted: Mapping[ColumnElement[str], str | None]) -> list[ColumnElement[bool]]:
    """Return that each column has its value."""
    return [column == str(value) for column, value in wanted.items() if value is not None]


def between(column: ColumnElement[int], from_ns: int | None, to_ns: int | None) -> list[ColumnElement[bool]]:
    """Return that a time lies in a window; its end does not belong to it."""
    found = []
    if from_ns is not None:
        found.append(column >= from_ns)
    if to_ns is not None:
        found.append(column < to_ns)
    return found


def contains(text: str, *columns: ColumnElement[str]) -> ColumnElement[bool]:
    """Return that `text` is a part of one of the columns, in any case."""
    return or_(*(column.icontains(text, autoescape=True) for column in columns))


def _address(text: str | None) -> str | None:
    """Return an address in the form that is stored (RFC 5952), other text as it is."""
    return str(ipaddress.ip_address(text.strip("[]"))) if text and is_address(text) else text
