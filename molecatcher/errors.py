"""The errors of this package.

MolecatcherError            one sentence for the person at the terminal; the program ends with status 1
├── CatalogueError          a catalogue could not be updated, signed or verified
├── FetchError              a list could not be pulled into its file
└── SetupError              the program cannot start as it was asked to
"""


class MolecatcherError(Exception):
    """Base of everything this package raises on purpose."""


class SetupError(MolecatcherError):
    """The program cannot start as it was asked to; the message says what to do."""


class FetchError(MolecatcherError):
    """A list that could not be pulled, or whose hook failed; the message says what became of the file."""


class CatalogueError(MolecatcherError):
    """A catalogue that could not be updated, signed or verified; the message says what to do."""
