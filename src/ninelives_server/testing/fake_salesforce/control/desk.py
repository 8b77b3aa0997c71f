"""Everything a test can do to the org from the side, as methods that take and return JSON values.

`Desk` works on the org in this process, from any thread; `client.ControlClient` has the same methods over
HTTP. The list, with the HTTP form of each, is in `docs/reference/fake-salesforce.md`.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from ninelives_server.testing.fake_salesforce import apps, sfid
from ninelives_server.testing.fake_salesforce.control.traffic import Hold, Traffic
from ninelives_server.testing.fake_salesforce.events.streams import Ending
from ninelives_server.testing.fake_salesforce.grants import NOT_VALID
from ninelives_server.testing.fake_salesforce.http import Reply
from ninelives_server.testing.fake_salesforce.org import PAGES_ORIGIN, Org
from ninelives_server.testing.fake_salesforce.records import Row
from ninelives_server.testing.fake_salesforce.schema.fields import Field, SObject
from ninelives_server.testing.fake_salesforce.values import show

_FIELD_DOCS = {
    "boolean": "Data:Boolean", "int": "Data:Integer", "double": "Data:Double", "currency": "Data:Currency",
    "date": "Data:DateOnly", "datetime": "Data:DateTime", "picklist": "Data:DynamicEnum",
    "reference": "ForeignKey:EntityId", "email": "Data:Email",
}  # fmt: skip
_APP_SWITCHES = (
    "name", "contact_email", "require_secret_web", "require_secret_refresh", "require_pkce",
    "rotate_refresh_tokens", "certificate", "preauthorised", "blocked", "oauth_enabled",
)  # fmt: skip


class Desk:
    """The control methods of one org."""

    def __init__(self, org: Org, traffic: Traffic) -> None:
        self._org = org
        self._traffic = traffic

    # -- requests -----------------------------------------------------------------------------

    def requests(self, method: str = "*", path: str = "*", since: int = 0) -> list[dict[str, Any]]:
        """Return the requests that arrived, oldest first; `path` may hold `*`."""
        found = self._traffic.entries(method=method, path=path, since=since)
        return [dataclasses.asdict(entry) for entry in found]

    def secrets(self) -> dict[str, list[str]]:
        """Return the secrets that arrived in clear, for a search of the places where none may be."""
        return self._traffic.secrets()

    def forget_requests(self) -> None:
        """Empty the log of requests; their numbers go on."""
        self._traffic.forget()

    def wait_request(self, method: str = "*", path: str = "*", since: int = 0, seconds: float = 10) -> bool:
        """Wait until a request that fits was answered after number `since`; say whether one was."""
        with self._traffic.changed:
            return self._traffic.changed.wait_for(
                lambda: any(e.status for e in self._traffic.entries(method=method, path=path, since=since)),
                timeout=seconds,
            )

    # -- holds and failures -------------------------------------------------------------------

    def hold(self, method: str, path: str, times: int = 1) -> str:
        """Hold the answers to the next `times` requests that fit; the requests are carried out at once.

        Returns:
            The rule's id.
        """
        return self._traffic.hold(method=method, path=path, times=times).rule_id

    def hold_state(
        self, rule_id: str, wait_arrived: int = 0, wait_gone: int = 0, seconds: float = 10
    ) -> dict[str, Any]:
        """Return `arrived` (request numbers), `gone` (clients that hung up) and `released` of a hold.

        With `wait_arrived` or `wait_gone` it waits until that many arrived or hung up.
        """
        rule = self._hold(rule_id)
        with self._traffic.changed:
            self._traffic.changed.wait_for(
                lambda: len(rule.arrived) >= wait_arrived and rule.gone >= wait_gone, timeout=seconds
            )
            return {
                "id": rule.rule_id, "method": rule.method, "path": rule.path, "left": rule.times,
                "arrived": list(rule.arrived), "gone": rule.gone, "released": rule.released,
            }  # fmt: skip

    def release(self, rule_id: str) -> None:
        """Let the held answers of a rule go."""
        self._traffic.release(self._hold(rule_id))

    def release_all(self) -> None:
        """Let every held answer go."""
        self._traffic.release_all()

    def _hold(self, rule_id: str) -> Hold:
        found = self._traffic.holds.get(rule_id)
        if found is None:
            raise ValueError(f"no hold {rule_id!r}")
        return found

    def fail(
        self, method: str, path: str, status: int, body: Any = None, *, times: int = 1,
        applied: bool = False, content_type: str | None = None, headers: Mapping[str, str] | None = None,
    ) -> str:  # fmt: skip
        """Answer the next `times` requests that fit with this status and body.

        A body that is no text is sent as JSON. With `applied` the request is carried out all the same: the
        change is made and its answer is lost.
        """
        is_text = isinstance(body, str)
        raw = body.encode() if is_text else b"" if body is None else json.dumps(body).encode()
        kind = content_type or ("text/html;charset=UTF-8" if is_text else "application/json;charset=UTF-8")
        reply = Reply(status=status, body=raw, content_type=kind, headers=dict(headers or {}))
        rule = self._traffic.fail(method=method, path=path, times=times, reply=reply, applied=applied)
        return rule.rule_id

    def drop_failures(self) -> None:
        """Answer normally again."""
        self._traffic.drop_failures()

    # -- tokens -------------------------------------------------------------------------------

    def expire_sessions(self, username: str | None = None, message: str = NOT_VALID) -> int:
        """Let access tokens end as if they had timed out; return how many did.

        `message` is what the REST API says with 401 INVALID_SESSION_ID.
        """
        with self._org.lock:
            count = 0
            for token in self._org.ledger.tokens.values():
                mine = username is None or self._org.user(token.user_id)["Username"] == username
                if mine and token.refusal is None:
                    self._org.ledger.end_token(token, message, revoked=False)
                    count += 1
        self._org.bus.log.wake()
        return count

    def revoke_grants(self, username: str | None = None, client_id: str | None = None) -> int:
        """End grants with all their tokens, as an admin does; return how many there were."""
        with self._org.lock:
            user = self._org.by_username(username) if username else None
            if username and user is None:
                return 0
            found = self._org.ledger.live(client_id=client_id, user_id=user["Id"] if user else None)
            for grant in found:
                self._org.ledger.end(grant, "revoked by an administrator")
        self._org.bus.log.wake()
        return len(found)

    def tokens(self) -> dict[str, Any]:
        """Return how many grants, codes and access tokens there are, and the grants without any secret."""
        with self._org.lock:
            org, ledger, now = self._org, self._org.ledger, self._org.clock.now()
            live = [t for t in ledger.tokens.values() if ledger.works(t, now, org.behaviour)]
            return {
                "token_requests": ledger.requests,
                "codes": len(ledger.codes),
                "codes_used": sum(c.used for c in ledger.codes.values()),
                "access_tokens": len(ledger.tokens),
                "access_tokens_live": len(live),
                "grants_live": len(ledger.live()),
                "grants": [
                    {
                        "id": g.grant_id, "client_id": g.client_id,
                        "username": org.user(g.user_id)["Username"], "scopes": list(g.scopes),
                        "created_at": show(g.created_at), "ended": g.ended,
                        "has_refresh_token": g.refresh_token is not None and g.ended is None,
                        "rotations": len(g.retired),
                    }
                    for g in ledger.grants.values()
                ],
            }  # fmt: skip

    def issue_token(self, username: str | None = None, client_id: str | None = None) -> dict[str, str]:
        """Give out an access token without a browser, for tests that are not about connecting."""
        with self._org.lock:
            user = self._org.by_username(username) if username else self._org.users()[0]
            app = self._org.apps.get(client_id or next(iter(self._org.apps)))
            if user is None or app is None:
                raise ValueError("no such user or app")
            now, behaviour = self._org.clock.now(), self._org.behaviour
            grant = self._org.ledger.open(
                client_id=app.client_id, user_id=user["Id"], scopes=app.scopes, now=now, behaviour=behaviour
            )
            token = self._org.ledger.add_token(
                client_id=app.client_id, user_id=user["Id"], grant_id=grant.grant_id, scopes=app.scopes,
                now=now, behaviour=behaviour,
            )  # fmt: skip
            return {
                "access_token": token.value, "refresh_token": grant.refresh_token or "",
                "instance_url": self._org.addresses.instance_url, "org_id": self._org.org_id,
                "user_id": user["Id"],
            }  # fmt: skip

    # -- behaviour and time -------------------------------------------------------------------

    def behaviour(self) -> dict[str, Any]:
        """Return all switches."""
        return dataclasses.asdict(self._org.behaviour)

    def set_behaviour(self, **switches: Any) -> dict[str, Any]:
        """Set switches by name and return all of them."""
        with self._org.lock:
            self._org.behaviour = self._org.behaviour.but(switches)
        self._org.bus.log.wake()
        return self.behaviour()

    def advance_clock(self, seconds: float) -> str:
        """Let time pass in the org and return what its clock says now."""
        with self._org.lock:
            self._org.clock.advance(seconds)
            self._org.bus.log.forget(
                timedelta(seconds=self._org.behaviour.event_retention_seconds), self._org.clock.now()
            )
        self._org.bus.log.wake()
        return str(show(self._org.clock.now()))

    # -- events -------------------------------------------------------------------------------

    def select_entities(self, entities: Sequence[str]) -> list[str]:
        """Select exactly these objects for Change Data Capture."""
        with self._org.lock:
            self._org.select_entities(list(entities))
            return sorted(self._org.bus.selected)

    def streams(self) -> list[dict[str, Any]]:
        """Return the open Subscribe streams."""
        return [
            {
                "id": s.stream_id, "topic": s.topic, "user": self._org.user(s.user_id)["Username"],
                "outstanding": s.outstanding, "delivered": s.delivered, "keepalives": s.keepalives,
            }
            for s in self._org.streams.all()
        ]  # fmt: skip

    def wait_streams(self, topic: str | None = None, count: int = 1, seconds: float = 10) -> bool:
        """Wait until exactly `count` streams are open, of one topic or in all; say whether they are."""
        return self._org.bus.log.wait(
            lambda: sum(topic in {None, s.topic} for s in self._org.streams.all()) == count, seconds
        )

    def drop_streams(
        self, topic: str | None = None, status: str = "UNAVAILABLE", details: str = "Connection reset",
        error_code: str = "",
    ) -> int:  # fmt: skip
        """End the open streams, or those of one topic, with a gRPC status; return how many."""
        found = [s for s in self._org.streams.all() if topic in {None, s.topic}]
        for stream in found:
            stream.ordered = Ending(status=status, details=details, error_code=error_code)
        self._org.bus.log.wake()
        return len(found)

    def corrupt_replay(self) -> None:
        """Begin the event log anew: no replay id that anybody stored is known any more."""
        self._org.bus.log.reset()

    def events(self) -> list[dict[str, Any]]:
        """Return the events on the bus, decoded."""
        with self._org.lock:
            found = []
            for event in self._org.bus.log.all():
                schema = self._org.bus.schema(event.schema_id)
                assert schema
                found.append(
                    {"replay": event.replay, "id": event.event_id, "topics": sorted(event.topics),
                     "schema_id": event.schema_id, "event": schema.decode(event.payload)}
                )  # fmt: skip
            return found

    def publish_gap(self, entity: str, change_type: str, record_ids: Sequence[str]) -> int:
        """Put a gap or overflow event on the bus and return its replay id."""
        with self._org.lock:
            event = self._org.bus.publish_gap(
                self._object(entity), change_type, record_ids, user_id=self._org.users()[0]["Id"],
                now=self._org.clock.now(),
            )  # fmt: skip
            return event.replay

    # -- records ------------------------------------------------------------------------------

    def _object(self, name: str) -> SObject:
        found = self._org.catalog.find(name)
        if found is None:
            raise ValueError(f"no object {name!r}")
        return found

    def _actor(self, username: str | None) -> str:
        user = self._org.by_username(username) if username else self._org.users()[0]
        if user is None:
            raise ValueError(f"no user {username!r}")
        return str(user["Id"])

    def create_record(
        self, entity: str, fields: Row, username: str | None = None, origin: str = PAGES_ORIGIN
    ) -> str:
        """Make a record as somebody in the org does (the first user unless told) and return its id."""
        with self._org.lock, self._org.writing(self._actor(username), origin) as unit:
            return unit.insert(self._object(entity), fields)

    def update_record(
        self, entity: str, record_id: str, fields: Row, username: str | None = None,
        origin: str = PAGES_ORIGIN,
    ) -> None:  # fmt: skip
        """Change a record as somebody in the org does."""
        with self._org.lock, self._org.writing(self._actor(username), origin) as unit:
            unit.update(self._object(entity), sfid.normalise(record_id) or record_id, fields)

    def delete_record(self, entity: str, record_id: str, username: str | None = None) -> None:
        """Delete a record as somebody in the org does."""
        with self._org.lock, self._org.writing(self._actor(username), PAGES_ORIGIN) as unit:
            unit.delete(self._object(entity), sfid.normalise(record_id) or record_id)

    def undelete_record(self, entity: str, record_id: str, username: str | None = None) -> None:
        """Take a record out of the recycle bin as somebody in the org does."""
        with self._org.lock, self._org.writing(self._actor(username), PAGES_ORIGIN) as unit:
            unit.undelete(self._object(entity), sfid.normalise(record_id) or record_id)

    def record(self, entity: str, record_id: str) -> dict[str, Any] | None:
        """Return a record with all its fields, deleted or not."""
        with self._org.lock:
            row = self._org.records.find(self._object(entity), sfid.normalise(record_id) or record_id)
            return {name: show(value) for name, value in row.items()} if row else None

    def records(self, entity: str) -> list[dict[str, Any]]:
        """Return the records of an object that are not deleted."""
        with self._org.lock:
            rows = self._org.records.rows(self._object(entity))
            return [{name: show(value) for name, value in row.items()} for row in rows]

    # -- schema -------------------------------------------------------------------------------

    def add_field(self, entity: str, name: str, field_type: str = "string", **more: Any) -> None:
        """Add a custom field; the schema of the object's change events changes with it."""
        with self._org.lock:
            self._object(entity).add(_field(name, field_type, more))

    def add_object(self, name: str, label: str, fields: Sequence[dict[str, Any]] = ()) -> None:
        """Add a custom object (`…__c`) with these fields beside `Name`."""
        with self._org.lock:
            self._org.catalog.add_object(name, label, tuple(_from_json(f) for f in fields))

    def add_event(self, name: str, label: str, fields: Sequence[dict[str, Any]] = ()) -> None:
        """Add a platform event (`…__e`) with these fields."""
        with self._org.lock:
            self._org.catalog.add_event(name, label, tuple(_from_json(f) for f in fields))

    # -- people and apps ----------------------------------------------------------------------

    def add_user(self, username: str, password: str, first_name: str = "", last_name: str = "User") -> str:
        """Add a user who can log in and return the id."""
        with self._org.lock:
            return self._org.add_user(
                username=username, password=password, first_name=first_name, last_name=last_name,
                email=username,
            )  # fmt: skip

    def set_user_active(self, username: str, active: bool) -> None:
        """Freeze or thaw a user."""
        with self._org.lock:
            self._org.user(self._actor(username))["IsActive"] = active
        self._org.bus.log.wake()

    def apps(self) -> list[dict[str, Any]]:
        """Return the apps with their OAuth settings, key and secret included."""
        with self._org.lock:
            found = [dataclasses.asdict(app) for app in self._org.apps.values()]
        for app in found:
            app["visible_from"] = show(app["visible_from"])
        return found

    def add_app(self, name: str, callbacks: Sequence[str], **switches: Any) -> dict[str, Any]:
        """Add an app, as strict as Setup makes it but for the switches, and return it."""
        with self._org.lock:
            wait = timedelta(seconds=self._org.behaviour.app_propagation_seconds)
            app = apps.new_app(
                self._org.ids, name=name, contact_email="admin@fake-salesforce.test", callbacks=callbacks,
                visible_from=self._org.clock.now() + wait,
            )  # fmt: skip
            self._org.apps[app.client_id] = app
        return self.edit_app(app.client_id, **switches)

    def edit_app(self, client_id: str, **switches: Any) -> dict[str, Any]:
        """Change an app: `callbacks`, `scopes`, `client_credentials_user` (a username) and its switches."""
        with self._org.lock:
            app = self._org.apps.get(client_id)
            if app is None:
                raise ValueError(f"no app {client_id!r}")
            for name, value in switches.items():
                if name == "callbacks":
                    app.callbacks = apps.checked_callbacks(value)
                elif name == "scopes":
                    app.scopes = tuple(value)
                elif name == "client_credentials_user":
                    app.client_credentials_user = self._actor(value) if value else None
                elif name in _APP_SWITCHES:
                    setattr(app, name, value)
                else:
                    raise ValueError(f"no app setting {name!r}")
        return next(a for a in self.apps() if a["client_id"] == client_id)

    def rotate_secret(self, client_id: str) -> str:
        """Give an app a new consumer secret and return it; the old one is dead."""
        with self._org.lock:
            app = self._org.apps[client_id]
            app.client_secret = apps.new_secret()
            return app.client_secret


def _from_json(given: dict[str, Any]) -> Field:
    more = {k: v for k, v in given.items() if k not in {"name", "type"}}
    return _field(given["name"], given.get("type", "string"), more)


def _field(name: str, field_type: str, more: dict[str, Any]) -> Field:
    chosen: dict[str, Any] = {
        "label": name.removesuffix("__c").replace("_", " "), "doc": _FIELD_DOCS.get(field_type, "Data:Text"),
        "length": 255 if field_type in {"string", "picklist", "email"} else 0,
        "precision": 18 if field_type in {"double", "currency", "int"} else 0,
        "scale": 2 if field_type in {"double", "currency"} else 0,
        "default": False if field_type == "boolean" else None,
    }  # fmt: skip
    chosen.update({k: tuple(v) if isinstance(v, list) else v for k, v in more.items()})
    if field_type == "reference":
        chosen.setdefault("relationship", name.replace("__c", "__r"))
    return Field(name=name, type=field_type, **chosen)
