"""The help of `molecatcher blocklist`, with the formats that there are: looked up only when it is asked for."""

from typing import Any

from typer.core import TyperCommand


class FormatHelp(TyperCommand):
    """A command whose help ends in the list of formats."""

    def format_help(self, *arguments: Any, **keywords: Any) -> None:
        """Write the help."""
        from molecatcher.commands.blocklist import choices  # noqa: PLC0415 - only this answer needs it

        self.epilog = "\n\n".join(f"{wanted}  {feed.consumer}" for wanted, feed in choices().items())
        super().format_help(*arguments, **keywords)
