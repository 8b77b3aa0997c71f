"""One org: its users, apps, records, grants and events, behind one lock.

Every part that talks to the outside (REST, OAuth, pages, Pub/Sub, control) works on this object and holds
`lock` while it does.
"""

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

from ninelives_server.clock import Clock
from ninelives_server.testing.fake_salesforce import apps, sfid
from ninelives_server.testing.fake_salesforce.addresses import Addresses
from ninelives_server.testing.fake_salesforce.behaviour import Behaviour
from ninelives_server.testing.fake_salesforce.events.bus import Bus
from ninelives_server.testing.fake_salesforce.events.streams import Streams
from ninelives_server.testing.fake_salesforce.grants import NOT_VALID, AccessToken, Ledger
from ninelives_server.testing.fake_salesforce.records import Records, Row, Unit
from ninelives_server.testing.fake_salesforce.schema.catalog import Catalog
from ninelives_server.testing.fake_salesforce.times import ShiftedClock

#: What `changeOrigin` says of a change that somebody made in the org's own pages.
PAGES_ORIGIN = "com/salesforce/api/soap/67.0;client=SfdcInternalAPI/"


class Org:
    """The state of one org."""

    def __init__(self, *, clock: Clock, behaviour: Behaviour) -> None:
        self.lock = threading.RLock()
        self.clock = ShiftedClock(clock)
        self.behaviour = behaviour
        self.org_id = sfid.to_long(sfid.random_short(sfid.ORG_PREFIX))
        self.my_domain = f"fake-{secrets.token_hex(4)}-dev-ed"
        self.addresses = Addresses(
            host="localhost", https_port=0, http_port=None, pubsub_port=0, my_domain=self.my_domain
        )
        self.ids = sfid.Sequence()
        self.catalog = Catalog()
        self.records = Records(self.catalog, self.ids)
        self.bus = Bus(self.catalog)
        self.streams = Streams()
        self.ledger = Ledger(self.org_id)
        self.apps: dict[str, apps.App] = {}
        self.passwords: dict[str, str] = {}
        self.browser_sessions: dict[str, str] = {}
        self.members: dict[str, str] = {}
        self.pending: dict[str, Any] = {}
        self.cursors: dict[str, Any] = {}
        self.api_calls = 0
        self._make_organization()

    def _make_organization(self) -> None:
        now = self.clock.now()
        row: Row = {
            "Id": self.org_id, "Name": "Fake Salesforce", "InstanceName": "FAKE1", "IsSandbox": False,
            "OrganizationType": "Developer Edition", "NamespacePrefix": None,
            "LanguageLocaleKey": "en_US", "TimeZoneSidKey": "GMT", "CreatedDate": now,
            "LastModifiedDate": now, "SystemModstamp": now, "CreatedById": None, "LastModifiedById": None,
        }  # fmt: skip
        organization = self.catalog.find("Organization")
        assert organization
        self.records.table(organization)[self.org_id] = row

    @cached_property
    def signing_key(self) -> rsa.RSAPrivateKey:
        """Return the key that signs id tokens; made when first needed, because that takes a moment."""
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)

    # -- people -------------------------------------------------------------------------------

    def add_user(self, *, username: str, password: str, first_name: str, last_name: str, email: str) -> str:
        """Add a user who can log in, and return the id."""
        user = self.catalog.find("User")
        assert user
        unit = Unit(self.records, actor=sfid.EMPTY, now=self.clock.now())
        user_id = unit.insert(
            user,
            {"Username": username, "FirstName": first_name, "LastName": last_name, "Email": email,
             "Alias": username[:8], "CommunityNickname": username.partition("@")[0][:40]},
        )  # fmt: skip
        row = self.records.table(user)[user_id]
        row["CreatedById"] = row["LastModifiedById"] = user_id
        self.passwords[user_id] = password
        return user_id

    def user(self, user_id: str) -> Row:
        """Return the record of a user."""
        user = self.catalog.find("User")
        assert user
        return self.records.table(user)[user_id]

    def users(self) -> list[Row]:
        """Return the records of all users; the first one is the administrator."""
        user = self.catalog.find("User")
        assert user
        return self.records.rows(user)

    def by_username(self, username: str) -> Row | None:
        """Return the user of this name; letter case does not count."""
        wanted = username.strip().lower()
        return next((u for u in self.users() if u["Username"].lower() == wanted), None)

    def log_in(self, username: str, password: str) -> str | None:
        """Return the id of the user with this name and password, if it may log in."""
        found = self.by_username(username)
        if found is None or not found["IsActive"]:
            return None
        expected = self.passwords.get(found["Id"], "")
        return str(found["Id"]) if secrets.compare_digest(expected.encode(), password.encode()) else None

    # -- apps ---------------------------------------------------------------------------------

    def app(self, client_id: str) -> apps.App | None:
        """Return the app of a consumer key, once it has spread."""
        found = self.apps.get(client_id)
        if found is None or not found.oauth_enabled or self.clock.now() < found.visible_from:
            return None
        return found

    def app_by_id(self, app_id: str) -> apps.App | None:
        """Return the app of a record id."""
        return next((a for a in self.apps.values() if a.app_id == app_id), None)

    # -- sessions -----------------------------------------------------------------------------

    def session(self, value: str) -> AccessToken | None:
        """Return the session of an access token and keep it alive, or `None` where it is not good."""
        token = self.ledger.use(value, self.clock.now(), self.behaviour)
        return token if token and self.user(token.user_id)["IsActive"] else None

    def refusal(self, value: str) -> str:
        """Return what the REST API says about a token that is not good."""
        token = self.ledger.tokens.get(value)
        return (token and token.refusal) or NOT_VALID

    # -- writing ------------------------------------------------------------------------------

    @contextmanager
    def writing(self, user_id: str, origin: str) -> Iterator[Unit]:
        """Change records as one transaction: an exception undoes it, a normal end publishes its events."""
        unit = Unit(self.records, actor=user_id, now=self.clock.now())
        start = unit.mark()
        try:
            yield unit
        except BaseException:
            unit.back_to(start)
            raise
        self.bus.publish_changes(unit.changes(), user_id=user_id, origin=origin, now=self.clock.now())

    # -- change data capture ------------------------------------------------------------------

    def select_entities(self, names: list[str]) -> None:
        """Select these objects, and no others, for Change Data Capture.

        Raises:
            ValueError: There is no such object, or it has no change events.
        """
        self.bus.select(names)
        for name in self.bus.selected:
            self.members.setdefault(name, self.ids.new(sfid.CHANNEL_MEMBER_PREFIX))
        for name in set(self.members) - self.bus.selected:
            del self.members[name]

    def channel_members(self) -> list[dict[str, Any]]:
        """Return the members of the channel `ChangeEvents`, as the Tooling API shows them."""
        found = []
        for name, member_id in self.members.items():
            sobject = self.catalog.find(name)
            assert sobject
            found.append(
                {"Id": member_id, "EventChannel": "ChangeEvents", "SelectedEntity": sobject.change_event,
                 "DeveloperName": f"ChangeEvents_{sobject.change_event}",
                 "MasterLabel": f"ChangeEvents_{sobject.change_event}", "NamespacePrefix": None,
                 "FullName": f"ChangeEvents_{sobject.change_event}"}
            )  # fmt: skip
        return sorted(found, key=lambda m: str(m["SelectedEntity"]))
