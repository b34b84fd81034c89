"""Parsers, one module a protocol: each returns a value, raises `NeedMoreData`, or raises `Malformed…`."""
