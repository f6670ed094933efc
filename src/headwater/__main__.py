"""The program `headwater` (also `python -m headwater`): the command line, with the composition root behind it.

The composition root is imported only by the commands that need it: `headwater task list` does not have to load a web server, two
database drivers and a migration tool.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from headwater import cli
from headwater.domain.errors import HeadwaterError

if TYPE_CHECKING:
    from headwater.services.setup import FirstAccess
    from headwater.settings import Settings


class Composition:
    """Does what the command line asks for (see `cli.Program`)."""

    def init(self, settings: Settings) -> FirstAccess:
        """See `cli.Program.init`."""
        from headwater import bootstrap

        return bootstrap.init(settings)

    def serve(self, settings: Settings) -> None:
        """See `cli.Program.serve`."""
        from headwater import bootstrap

        bootstrap.serve(settings)


def main() -> None:
    """Run the command line; errors that we understand are told in one sentence instead of a traceback."""
    try:
        cli.app(obj=Composition())
    except HeadwaterError as error:
        sys.stderr.write(f"headwater: {error}\n")
        sys.exit(2 if error.kind == "settings" else 1)


if __name__ == "__main__":
    main()
