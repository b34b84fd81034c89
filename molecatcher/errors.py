"""The errors of this package.

MolecatcherError            one sentence for the person at the terminal; the program ends with status 1
└── SetupError              the program cannot start as it was asked to
"""


class MolecatcherError(Exception):
    """Base of everything this package raises on purpose."""


class SetupError(MolecatcherError):
    """The program cannot start as it was asked to; the message says what to do."""
