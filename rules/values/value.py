"""What values of the hot path are made of: cheap to build, to compare and to hold."""

import msgspec


class Value(msgspec.Struct, frozen=True, gc=False):
    """An immutable value that the garbage collector need not look at: it refers to nothing that refers to it.

    A compiled module loses the keywords of its class statements. They hold by inheritance from here, since this module
    is not compiled; mypy wants `frozen=True` repeated where a class is derived.
    """


class State(msgspec.Struct, gc=False):
    """The same, to be changed in place."""
