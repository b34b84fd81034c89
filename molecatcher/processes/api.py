"""The API as a process: feeds, events and the page from the database, until told to stop."""

import ipaddress
import signal
import ssl
import threading
import time
from functools import partial

import structlog

from api.app import change_access, create_app, is_proxy
from api.context import ApiContext, CatalogueStatus, CatalogueUpdate, PolicyStatus, SanctionedDomain, ServiceRow
from api.feeds import FORMATS
from api.sealed import Seal
from api.serving.server import ApiServer, bind, parse_listen
from db.errors import DbError
from db.store import open_store
from db.workflow.outputs import MAX_DEAD
from molecatcher import __version__
from molecatcher.access_file import LiveAccess, plan_listening
from molecatcher.catalogue.folder import CatalogueFolder
from molecatcher.errors import SetupError
from molecatcher.lists.list_files import ListFiles
from molecatcher.lists.publish import Publisher
from molecatcher.lists.zone_keys import ZoneKeyFiles
from molecatcher.live_rules import LiveRules
from molecatcher.logs import configure_logging
from molecatcher.names.own_lookups import OwnLookups
from molecatcher.names.resolve import NameResolver
from molecatcher.names.zone_checks import ZoneChecks
from molecatcher.outputs.errors import DeliveryFailed
from molecatcher.outputs.runner import Outputs
from molecatcher.outputs.senders import Means, own_hostname
from molecatcher.outputs.target import TargetGuard
from molecatcher.overlay import OverlayFollower
from molecatcher.processes.listener_thread import ListenerThread
from molecatcher.processes.notify import Notifier
from molecatcher.processes.open_feeds import OpenFeeds, listen_openly
from molecatcher.processes.open_zone import OpenZone, listen_for_zone
from molecatcher.recordings.demonstration import RECORDING, Demonstration
from molecatcher.recordings.dissection import dissect
from molecatcher.settings import Settings
from molecatcher.shared_file import SharedFile
from molecatcher.state import claim, kept_secret
from molecatcher.upkeep.exception_upkeep import ExceptionUpkeep
from molecatcher.upkeep.retention import Retention
from rules.lists.blocklist import Snapshot
from rules.values.zones import ZoneAnswer

log = structlog.get_logger()

POLL_S = 1.0


class ApiProcess:
    """Everything the API owns; `run` serves until a signal ends it."""

    def __init__(self, settings: Settings) -> None:
        """Open everything that can fail.

        Raises:
            RulesError, DbError, ApiError: a policy, database or listen address that cannot be used.
        """
        access, reach, self._certificate = plan_listening(settings)
        listener = bind(parse_listen(settings.listen, only_loopback=False))
        open_lists = listen_openly(settings)
        open_zone = listen_for_zone(settings)
        self._catalogue = catalogue = CatalogueFolder(settings.state, settings.catalogue_dir)
        self._update: tuple[object, CatalogueUpdate | None] = (None, None)
        self.rules = LiveRules(catalogue.load(), settings.policy, time.time_ns, catalogue)
        self._claim = claim(settings.state / "api.lock")
        own_lookups = OwnLookups(kept_secret(settings.lookup_secret))
        self.store = open_store(settings.database, evidence_limit=settings.evidence_mib << 20)
        self.overlay = OverlayFollower(self.store.policy)
        self.rules.follow(self.overlay)
        self.upkeep = ExceptionUpkeep(self.store, self.rules)
        self.retention = Retention(self.store, settings, time.time_ns)
        self._output_key = kept_secret(settings.state / "output_key")
        self.outputs = Outputs(self.store, Seal(self._output_key), _means(settings))
        resolver = NameResolver(settings.resolvers, spell=own_lookups.mark)
        self._demonstration = Demonstration(self.store, self.rules, time.time_ns)
        files = ListFiles(settings.lists)
        agents = SharedFile(settings.agent_addresses, dict[str, tuple[str, str]])
        self.publisher = Publisher(
            self.store,
            self.rules,
            resolver,
            settings.resolve_s,
            files=files,
            agent_addresses=agents,
            prepare=self._prepare_list,
        )
        self.zone_checks = ZoneChecks(
            [SharedFile(path, list[str]) for path in settings.all_zone_questions],
            SharedFile(settings.zone_answers, list[ZoneAnswer]),
            NameResolver(settings.resolvers, spell=own_lookups.mark),
        )
        self._checks_zones = settings.zone_checks
        self.zone: OpenZone | None = None
        app = self._app = create_app(self._context(settings), access)
        self.access = LiveAccess(settings, access, partial(change_access, app), self.store)
        if open_zone:
            keys = ZoneKeyFiles(settings.zone_keys)
            self.zone = OpenZone(open_zone, app.state.context, keys, app.state.pulls)
        self.server = ApiServer(app, listener, self._certificate, reach=reach, is_proxy=partial(is_proxy, app))
        self.feeds = OpenFeeds(app, open_lists) if open_lists else None
        self._stopping = threading.Event()
        self._wants_reload = threading.Event()

    def run(self, notifier: Notifier) -> None:
        """Serve until SIGTERM or SIGINT; SIGHUP and changed files reload policy and access."""
        signal.signal(signal.SIGHUP, lambda _signal, _frame: self._wants_reload.set())
        for number in (signal.SIGTERM, signal.SIGINT):  # the server takes both over and raises them again in the end
            signal.signal(number, lambda _signal, _frame: self.server.stop())
        keeper = threading.Thread(target=self._keep_house, args=(notifier,), name="housekeeping")
        keeper.start()
        try:
            self._start()
            self.server.run()
        finally:
            notifier.stopping()
            self._stopping.set()
            for listener in self._listeners:
                listener.stop()
            keeper.join()
            self.overlay.stop()
            self.outputs.stop()
            self.retention.stop()
            self.publisher.stop()
            self.zone_checks.stop()
            self.store.close()

    def _start(self) -> None:
        self.publisher.start()
        self.overlay.start()
        self.retention.start()
        if self._checks_zones:
            self.zone_checks.start()
        for listener in self._listeners:
            listener.start()

    def _keep_house(self, notifier: Notifier) -> None:
        while not self.server.is_started and not self._stopping.wait(0.05):
            notifier.alive()  # many large lists take minutes
        notifier.ready()
        while not self._stopping.wait(POLL_S):
            if self._is_alive():
                notifier.alive()
            for listener in self._listeners:
                listener.poll()
            if self._certificate:
                self._certificate.poll()
            wants_reload = self._wants_reload.is_set()
            self._wants_reload.clear()
            if wants_reload:
                self.access.reload()
            else:
                self.access.poll()
            if self.rules.reload() if wants_reload else self.rules.poll():
                self.publisher.rules_changed()
            self._keep_findings()
            self._keep_outputs()

    def _is_alive(self) -> bool:
        listeners = all(listener.is_alive for listener in self._listeners)
        return self.publisher.is_alive and self.overlay.is_alive and listeners

    def _prepare_list(self, snapshot: Snapshot, until_s: float) -> None:
        """Have a list written out before it is in force, as consumers pull it."""
        state = self._app.state
        pulled = state.pulls.formats(snapshot.list_name, snapshot.profile)
        formats = [it for it in FORMATS[snapshot.list_name] if it in pulled]
        state.publication.prepare(snapshot, formats, until_s)

    def _keep_findings(self) -> None:
        """Have findings follow what is excepted; without the database the next look does it."""
        try:
            self.upkeep.look(time.time_ns())
        except DbError as error:
            log.warning("findings_not_kept", reason=str(error))

    def _keep_outputs(self) -> None:
        """Have every output delivered to; without the database those that run go on."""
        try:
            self.outputs.look()
        except DbError as error:
            log.warning("outputs_not_kept", reason=str(error))

    def _replay_letters(self, output_id: str) -> tuple[int, str]:
        before = len(self.store.outputs.dead_letters(output_id, None, MAX_DEAD))
        try:
            return self.outputs.replay(output_id), ""
        except DeliveryFailed as error:
            return before - len(self.store.outputs.dead_letters(output_id, None, MAX_DEAD)), str(error)

    def _try_output(self, output_id: str) -> str:
        try:
            self.outputs.try_out(output_id)
        except DeliveryFailed as error:
            return str(error)
        return ""

    def _policy_changed(self) -> None:
        """Put in force what was just written, so that the next answer shows it; lists follow within a second."""
        self.overlay.look()
        if self.rules.poll():
            self.publisher.rules_changed()

    @property
    def _listeners(self) -> list[ListenerThread]:
        return [listener for listener in (self.feeds, self.zone) if listener is not None]

    def _context(self, settings: Settings) -> ApiContext:
        return ApiContext(
            store=self.store,
            snapshot=self.publisher.snapshot,
            profiles=self.publisher.profiles,
            use_profile=self.publisher.use_profile,
            behind_after_ns=settings.behind_minutes * 60 * 1_000_000_000,
            catalogue_services=self._services,
            catalogue_status=self._catalogue_status,
            policy_status=self._policy_status,
            now_ns=time.time_ns,
            dissect=dissect,
            demonstrate=self._demonstration.play if RECORDING.exists() else None,
            version=__version__,
            ruleset=self.rules,
            policy_changed=self._policy_changed,
            access_error=lambda: self.access.error,
            catalogue_update=self._catalogue_update,
            preview_lists=self.publisher.preview,
            preview_profile=self.publisher.preview_profile,
            needs_approval=lambda: settings.exception_approval,
            replay_letters=self._replay_letters,
            try_output=self._try_output,
            output_key=self._output_key,
            name_key=kept_secret(settings.state / "name_key"),
            held_list=self.publisher.held,
            why_unbuilt=self.publisher.why_unbuilt,
            confirm_list=self.publisher.confirm,
            zone_counts=lambda: self.zone.counts() if self.zone else {},
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

    def _catalogue_status(self) -> CatalogueStatus:
        catalogue, now_ns = self.rules.current.catalogue, time.time_ns()
        return CatalogueStatus(
            version=catalogue.version,
            generated=catalogue.generated,
            age_days=catalogue.age_days(now_ns),
            is_old=catalogue.is_old(now_ns),
            origin=catalogue.origin,
            additions=catalogue.additions,
            warning=catalogue.warning(now_ns),
        )

    def _catalogue_update(self) -> CatalogueUpdate | None:
        """Return the update in force as it was signed; read when the catalogue changes."""
        catalogue = self.rules.current.catalogue
        if self._update[0] is not catalogue:
            found = self._catalogue.signed_update() if catalogue.is_updated else None
            self._update = (catalogue, CatalogueUpdate(*found) if found else None)
        return self._update[1]

    def _policy_status(self) -> PolicyStatus:
        policy, now_ns = self.rules.current.policy, time.time_ns()
        return PolicyStatus(
            path=str(self.rules.path or ""),
            loaded_at_ns=self.rules.loaded_at_ns,
            sanctioned=tuple(
                SanctionedDomain(
                    row.domain, row.service, row.owner, row.reason, row.expires, row.is_active(now_ns), row.origin
                )
                for row in policy.sanctions
            ),
            error=self.rules.error,
            warnings=policy.warnings,
        )


def _means(settings: Settings) -> Means:
    """Return what outputs use.

    Raises:
        SetupError: a network that they may speak to is none.
    """
    try:
        allowed = [ipaddress.ip_network(text) for text in settings.output_networks]
    except ValueError as error:
        raise SetupError(f"MOLECATCHER_OUTPUT_NETWORKS: {error}; give networks such as 10.20.0.0/16") from None
    return Means(TargetGuard(allowed), ssl.create_default_context(), time.time_ns, __version__, own_hostname())


def run(settings: Settings) -> None:
    """Run the API in this process until SIGTERM or SIGINT."""
    configure_logging()
    ApiProcess(settings).run(Notifier())
