"""The API as a process: feeds, events and the page from the database, until told to stop."""

import signal
import threading
import time

import structlog

from api.app import create_app
from api.context import ApiContext, PolicyStatus, SanctionedDomain, ServiceRow
from api.server import ApiServer, bind, parse_listen
from db.store import open_store
from molecatcher import __version__
from molecatcher.access_file import plan_listening
from molecatcher.dissection import dissect
from molecatcher.list_files import ListFiles
from molecatcher.live_rules import LiveRules
from molecatcher.logs import configure_logging
from molecatcher.notify import Notifier
from molecatcher.open_feeds import OpenFeeds, listen_openly
from molecatcher.own_lookups import OwnLookups
from molecatcher.publish import Publisher
from molecatcher.resolve import NameResolver
from molecatcher.settings import Settings
from molecatcher.state import claim, kept_secret
from rules.catalogue import load_catalogue

log = structlog.get_logger()

POLL_S = 1.0


class ApiProcess:
    """Everything the API owns; `run` serves until a signal ends it."""

    def __init__(self, settings: Settings) -> None:
        """Open everything that can fail.

        Raises:
            RulesError, DbError, ApiError: a policy, database or listen address that cannot be used.
        """
        access, reach, certificate = plan_listening(settings)
        listener = bind(parse_listen(settings.listen, only_loopback=False))
        open_lists = listen_openly(settings)
        self.rules = LiveRules(load_catalogue(), settings.policy, time.time_ns)
        self._claim = claim(settings.state / "api.lock")
        own_lookups = OwnLookups(kept_secret(settings.lookup_secret))
        self.store = open_store(settings.database, evidence_limit=settings.evidence_mib << 20)
        resolver = NameResolver(settings.resolvers, spell=own_lookups.mark)
        files = ListFiles(settings.lists)
        self.publisher = Publisher(self.store, self.rules, resolver, settings.resolve_s, files=files)
        app = create_app(self._context(settings), access)
        self.server = ApiServer(app, listener, certificate, reach=reach)
        self._certificates = [it for it in (certificate, open_lists and open_lists.certificate) if it]
        self.feeds = OpenFeeds(app, open_lists) if open_lists else None
        self._stopping = threading.Event()
        self._wants_reload = threading.Event()

    def run(self, notifier: Notifier) -> None:
        """Serve until SIGTERM or SIGINT; SIGHUP and a changed file reload the policy."""
        signal.signal(signal.SIGHUP, lambda _signal, _frame: self._wants_reload.set())
        for number in (signal.SIGTERM, signal.SIGINT):  # the server takes both over and raises them again in the end
            signal.signal(number, lambda _signal, _frame: self.server.stop())
        self.publisher.start()
        keeper = threading.Thread(target=self._keep_house, args=(notifier,), name="housekeeping")
        keeper.start()
        if self.feeds:
            self.feeds.start()
        try:
            self.server.run()
        finally:
            notifier.stopping()
            self._stopping.set()
            if self.feeds:
                self.feeds.stop()
            keeper.join()
            self.publisher.stop()
            self.store.close()

    def _keep_house(self, notifier: Notifier) -> None:
        while not self.server.is_started and not self._stopping.wait(0.05):
            pass
        notifier.ready()
        while not self._stopping.wait(POLL_S):
            if self.publisher.is_alive and (self.feeds is None or self.feeds.is_alive):
                notifier.alive()
            for certificate in self._certificates:
                certificate.poll()
            wants_reload = self._wants_reload.is_set()
            self._wants_reload.clear()
            if self.rules.reload() if wants_reload else self.rules.poll():
                self.publisher.rules_changed()

    def _context(self, settings: Settings) -> ApiContext:
        return ApiContext(
            store=self.store,
            snapshot=self.publisher.snapshot,
            catalogue_services=self._services,
            policy_status=self._policy_status,
            now_ns=time.time_ns,
            dissect=dissect,
            version=__version__,
            held_list=self.publisher.held,
            confirm_list=self.publisher.confirm,
            cursor_secret=kept_secret(settings.state / "cursor_secret"),
        )

    def _services(self) -> list[ServiceRow]:
        rules = self.rules.current
        return [
            ServiceRow(
                id=service.id,
                name=service.name,
                category=service.category,
                confidence=service.confidence.value,
                decision=rules.policy.decide(service),
                homepage=service.homepage,
            )
            for service in rules.catalogue.services.values()
        ]

    def _policy_status(self) -> PolicyStatus:
        policy, now_ns = self.rules.current.policy, time.time_ns()
        return PolicyStatus(
            path=str(self.rules.path or ""),
            loaded_at_ns=self.rules.loaded_at_ns,
            sanctioned=tuple(
                SanctionedDomain(row.domain, row.service, row.owner, row.reason, row.expires, row.is_active(now_ns))
                for row in policy.sanctions
            ),
            error=self.rules.error,
            warnings=policy.warnings,
        )


def run(settings: Settings) -> None:
    """Run the API in this process until SIGTERM or SIGINT."""
    configure_logging()
    ApiProcess(settings).run(Notifier())
