"""Serves the store that is named, as a process of its own; says where on its first line.

python serve_job.py DATABASE
"""

import sys
from pathlib import Path

import structlog
from installation import Installation

from api.app import create_app
from api.serving.server import ApiServer, bind, parse_listen
from db.store import open_store


def main() -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    path = Path(sys.argv[1])
    with open_store(path) as store:
        server = ApiServer(create_app(Installation(store, path).context()), bind(parse_listen("127.0.0.1:0")))
        sys.stdout.write(f"{server.address}\n")
        sys.stdout.flush()
        server.run()


if __name__ == "__main__":
    main()
