"""The tables. Migrations in `migrations/` bring a database to this state; a test compares the two.

Every row that belongs to somebody carries its org and, where it has one, its project; rows that people
make carry `created_by`. Columns named `sealed_…` hold what the vault sealed, never plain text.
Times are UTC.
"""

import sqlalchemy as sa

from ninelives_server.store import columns
from ninelives_server.store.columns import Utc, key, made, reference

metadata = columns.metadata

# --- access ---------------------------------------------------------------------------------------
orgs = sa.Table("orgs", metadata, key(), sa.Column("name", sa.String(200), nullable=False), *made())

users = sa.Table(
    "users",
    metadata,
    key(),
    sa.Column("name", sa.String(200), nullable=False, unique=True),
    sa.Column("email", sa.String(320)),
    sa.Column("disabled_at", Utc),
    sa.Column("last_login_at", Utc),
    *made(),
)

members = sa.Table(
    "members",
    metadata,
    sa.Column("org_id", sa.String(40), sa.ForeignKey("orgs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("user_id", sa.String(40), sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("role", sa.String(16), nullable=False),  # admin, member, viewer
    *made(),
)

# API tokens, worker tokens, browser logins, login links: all are bearer secrets stored as SHA-256.
tokens = sa.Table(
    "tokens",
    metadata,
    key(),
    reference("user_id", "users.id"),
    reference("org_id", "orgs.id"),
    sa.Column("kind", sa.String(16), nullable=False),  # api, worker, login_link, browser
    sa.Column("name", sa.String(200), nullable=False, default=""),
    sa.Column("hash", sa.LargeBinary(32), nullable=False, unique=True),
    sa.Column("scopes", sa.JSON, nullable=False),
    sa.Column("expires_at", Utc),
    sa.Column("last_used_at", Utc),
    sa.Column("revoked_at", Utc),
    *made(),
)

audit = sa.Table(
    "audit",
    metadata,
    key(),
    sa.Column("at", Utc, nullable=False, index=True),
    sa.Column("org_id", sa.String(40), index=True),
    sa.Column("project_id", sa.String(40), index=True),
    sa.Column("actor", sa.String(80), nullable=False),  # user id, token id, session id, or `system`
    sa.Column("action", sa.String(80), nullable=False),  # noun.verb_past
    sa.Column("target", sa.String(80), nullable=False),  # id of the thing
    sa.Column("details", sa.JSON, nullable=False),  # never a secret
)

idempotency = sa.Table(
    "idempotency",
    metadata,
    sa.Column("key", sa.LargeBinary(32), primary_key=True),  # SHA-256 of user, method, path and key
    sa.Column("request", sa.LargeBinary(32), nullable=False),  # SHA-256 of the body
    sa.Column("status", sa.Integer, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("created_at", Utc, nullable=False, index=True),
)

# --- keys -----------------------------------------------------------------------------------------
data_keys = sa.Table(
    "data_keys",
    metadata,
    # The project whose secrets, payloads and journals it seals, or `server` for what has no project.
    sa.Column("owner", sa.String(40), primary_key=True),
    sa.Column("master_id", sa.String(40), nullable=False),
    sa.Column("wrapped", sa.LargeBinary, nullable=False),
    sa.Column("created_at", Utc, nullable=False),
)

# --- projects -------------------------------------------------------------------------------------
projects = sa.Table(
    "projects",
    metadata,
    key(),
    reference("org_id", "orgs.id"),
    sa.Column("name", sa.String(100), nullable=False),
    sa.Column("display_name", sa.String(200), nullable=False, default=""),
    # Days; 0 is for ever.
    sa.Column("retain_sessions", sa.Integer, nullable=False, default=30),
    sa.Column("retain_events", sa.Integer, nullable=False, default=30),
    sa.Column("retain_logs", sa.Integer, nullable=False, default=30),
    sa.Column("max_concurrent", sa.Integer, nullable=False, default=0),  # open sessions; 0 is any number
    *made(),
    sa.UniqueConstraint("org_id", "name"),
)

variables = sa.Table(
    "variables",
    metadata,
    sa.Column(
        "project_id", sa.String(40), sa.ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True
    ),
    sa.Column("name", sa.String(200), primary_key=True),
    sa.Column("sealed_value", sa.LargeBinary, nullable=False),
    sa.Column("is_secret", sa.Boolean, nullable=False),
    sa.Column("description", sa.Text, nullable=False, default=""),
    sa.Column("updated_at", Utc, nullable=False),
    *made(),
)

builds = sa.Table(
    "builds",
    metadata,
    key(),
    reference("project_id", "projects.id"),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("entrypoints", sa.JSON, nullable=False),  # [{file, name, line, args}]
    sa.Column("requirements", sa.JSON, nullable=False),  # the resolved set, pinned; [] for none
    sa.Column("manifest", sa.JSON),
    sa.Column("environment_logs", sa.JSON, nullable=False),  # [{worker, at, text}], the newest first
    *made(),
    sa.UniqueConstraint("project_id", "sha256"),
)

# Bundles, large journal values and journals in transit, in rows of at most 1 MB.
blobs = sa.Table(
    "blobs",
    metadata,
    sa.Column("sha256", sa.String(64), primary_key=True),
    sa.Column(
        "project_id", sa.String(40), sa.ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True
    ),
    sa.Column("part", sa.Integer, primary_key=True),
    sa.Column("sealed_data", sa.LargeBinary, nullable=False),
    sa.Column("created_at", Utc, nullable=False),
)

deployments = sa.Table(
    "deployments",
    metadata,
    key(),
    reference("project_id", "projects.id"),
    reference("build_id", "builds.id"),
    sa.Column("state", sa.String(16), nullable=False),  # inactive, active, draining, testing
    sa.Column("state_since", Utc, nullable=False),
    *made(),
)

# --- connections ----------------------------------------------------------------------------------
connections = sa.Table(
    "connections",
    metadata,
    key(),
    reference("org_id", "orgs.id"),
    reference("project_id", "projects.id", null=True),
    sa.Column("name", sa.String(100), nullable=False),
    sa.Column("integration", sa.String(100), nullable=False),
    sa.Column("auth_mode", sa.String(40), nullable=False),
    sa.Column("state", sa.String(24), nullable=False),
    sa.Column("state_since", Utc, nullable=False),
    sa.Column("reason", sa.Text, nullable=False, default=""),  # in our words, safe to show
    sa.Column("provider_reason", sa.Text, nullable=False, default=""),  # in the provider's words
    sa.Column("settings", sa.JSON, nullable=False),  # fields that are not secret: environment, client_id, …
    sa.Column("account", sa.JSON),  # {org_id, user, instance_url, scopes, …}
    # What identifies the account for events: the integration's own stable text; NULL until authorised.
    sa.Column("account_key", sa.String(300)),
    sa.Column("generation", sa.Integer, nullable=False, default=0),  # of the grant: +1 at each save of tokens
    sa.Column("last_checked_at", Utc),
    sa.Column("last_refreshed_at", Utc),
    sa.Column("last_used_at", Utc),
    *made(),
    sa.UniqueConstraint("project_id", "name"),
    sa.Index("ix_connections_integration_account_key", "integration", "account_key"),
)

connection_secrets = sa.Table(
    "connection_secrets",
    metadata,
    sa.Column(
        "connection_id", sa.String(40), sa.ForeignKey("connections.id", ondelete="CASCADE"), primary_key=True
    ),
    sa.Column("name", sa.String(100), primary_key=True),  # client_secret, refresh_token, access_token, …
    sa.Column("sealed_value", sa.LargeBinary, nullable=False),
    sa.Column("updated_at", Utc, nullable=False),
)

# One row a connection: who may refresh now, and what was sent last.
refreshes = sa.Table(
    "refreshes",
    metadata,
    sa.Column(
        "connection_id", sa.String(40), sa.ForeignKey("connections.id", ondelete="CASCADE"), primary_key=True
    ),
    sa.Column("lease_owner", sa.String(80)),
    sa.Column("lease_until", Utc),
    sa.Column("fence", sa.Integer, nullable=False, default=0),  # +1 at each lease
    sa.Column("intent_at", Utc),  # when the request left; NULL once its answer is saved
    sa.Column("intent_generation", sa.Integer),
    sa.Column("refused_generation", sa.Integer),  # the access token that somebody reported with a 401
    sa.Column("failures", sa.Integer, nullable=False, default=0),
    sa.Column("retry_at", Utc),
)

oauth_flows = sa.Table(
    "oauth_flows",
    metadata,
    key(),
    reference("connection_id", "connections.id"),
    sa.Column("user_id", sa.String(40), nullable=False),
    sa.Column("ticket_hash", sa.LargeBinary(32), unique=True),
    sa.Column("code_hash", sa.LargeBinary(32)),  # the short code shown by UI or CLI
    sa.Column("code_tries", sa.Integer, nullable=False, default=0),
    sa.Column("cookie_hash", sa.LargeBinary(32)),
    sa.Column("state_hash", sa.LargeBinary(32), unique=True),
    sa.Column("sealed_verifier", sa.LargeBinary),
    sa.Column("redirect_uri", sa.Text, nullable=False),
    sa.Column("return_to", sa.Text, nullable=False, default=""),
    sa.Column("status", sa.String(24), nullable=False),  # ticketed, started, redirected, done, failed
    sa.Column("outcome", sa.JSON),  # {title, message, next_steps[]}: safe to show
    sa.Column("expires_at", Utc, nullable=False),
    sa.Column("started_at", Utc),
    sa.Column("ended_at", Utc),
    *made(),
)

# --- triggers and events --------------------------------------------------------------------------
triggers = sa.Table(
    "triggers",
    metadata,
    key(),
    reference("project_id", "projects.id"),
    sa.Column("name", sa.String(100), nullable=False),
    sa.Column("type", sa.String(16), nullable=False),  # connection, webhook, schedule
    reference("connection_id", "connections.id", null=True),
    sa.Column("event_type", sa.String(200), nullable=False, default=""),
    sa.Column("filter", sa.Text, nullable=False, default=""),
    sa.Column("call", sa.String(400), nullable=False, default=""),
    sa.Column("schedule", sa.String(200), nullable=False, default=""),
    sa.Column("timezone", sa.String(64), nullable=False, default="UTC"),
    sa.Column("slug", sa.String(64), unique=True),
    sa.Column("is_durable", sa.Boolean, nullable=False),
    sa.Column("is_sync", sa.Boolean, nullable=False, default=False),
    sa.Column("options", sa.JSON, nullable=False),  # max_concurrent, key, overlap, catch_up, auth
    sa.Column("ticked_at", Utc),  # up to where its schedule is done: the newest time that was settled
    sa.Column("last_error", sa.Text, nullable=False, default=""),
    sa.Column("last_error_at", Utc),
    *made(),
    sa.UniqueConstraint("project_id", "name"),
)

# One reader per source: an org, an authorised user and a topic inside one of our orgs.
streams = sa.Table(
    "streams",
    metadata,
    key(),
    reference("org_id", "orgs.id"),
    sa.Column("integration", sa.String(100), nullable=False),
    sa.Column("account_key", sa.String(300), nullable=False),
    sa.Column("topic", sa.String(300), nullable=False),
    sa.Column("cursor", sa.LargeBinary),  # opaque; saved with the events it covers
    sa.Column("cursor_at", Utc),
    sa.Column("lease_owner", sa.String(80)),
    sa.Column("lease_until", Utc),
    sa.Column("fence", sa.Integer, nullable=False, default=0),
    sa.Column(
        "state", sa.String(24), nullable=False, default="starting"
    ),  # starting, listening, failing, refused
    sa.Column("reason", sa.Text, nullable=False, default=""),
    sa.Column("listening_since", Utc),
    sa.Column("last_keepalive_at", Utc),
    sa.Column("last_event_at", Utc),
    sa.Column("gaps", sa.JSON, nullable=False),  # [{from, to, reason}]
    sa.Column("created_at", Utc, nullable=False),
    sa.UniqueConstraint("org_id", "integration", "account_key", "topic"),
)

events = sa.Table(
    "events",
    metadata,
    key(),
    reference("org_id", "orgs.id"),
    reference("project_id", "projects.id", index=False),
    sa.Column("connection_id", sa.String(40), index=True),
    sa.Column("trigger_id", sa.String(40), index=True),
    sa.Column("source_key", sa.String(300), nullable=False),  # unique within the project: dedup
    sa.Column("event_type", sa.String(200), nullable=False),
    sa.Column("sealed_data", sa.LargeBinary, nullable=False),  # JSON
    sa.Column("memo", sa.JSON, nullable=False),  # small, not secret: method, record_id, redispatch_of, …
    sa.Column("record_id", sa.String(100), index=True),
    sa.Column("traceparent", sa.String(60)),
    sa.Column("dispatched_at", Utc),  # NULL until dispatch has looked at it
    sa.Column("dispatch", sa.JSON, nullable=False),  # [{trigger_id, outcome, session_id|error}]
    *made(),
    sa.UniqueConstraint("project_id", "source_key"),
    sa.Index("ix_events_dispatched_at_project_id_id", "dispatched_at", "project_id", "id"),
    sa.Index("ix_events_project_id_id", "project_id", "id"),
    sa.Index("ix_events_project_id_created_at", "project_id", "created_at"),
)

# --- sessions -------------------------------------------------------------------------------------
sessions = sa.Table(
    "sessions",
    metadata,
    key(),
    reference("org_id", "orgs.id", index=False),
    reference("project_id", "projects.id", index=False),
    reference("deployment_id", "deployments.id", null=True, index=False),
    sa.Column("build_id", sa.String(40), sa.ForeignKey("builds.id"), nullable=False, index=True),
    sa.Column("event_id", sa.String(40), index=True),
    sa.Column("trigger_id", sa.String(40), index=True),
    sa.Column("parent_id", sa.String(40), index=True),
    # The first of a row of restarts, under whose id parents and signals know it; NULL for itself.
    sa.Column("first_id", sa.String(40), index=True),
    sa.Column("record_id", sa.String(100), index=True),
    sa.Column("entrypoint", sa.String(400), nullable=False),
    sa.Column("is_durable", sa.Boolean, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),  # created, running, waiting, completed, error, stopped
    sa.Column("state_since", Utc, nullable=False),
    sa.Column("queue_reason", sa.Text, nullable=False, default=""),  # why its code does not run yet
    sa.Column("queue_key", sa.String(64)),  # digest of its key's value: one at a time of each
    sa.Column("admitted_at", Utc),  # when the limits let it start; NULL while it queues
    sa.Column("memo", sa.JSON, nullable=False),
    # Pinned when created: {seed, env, inputs, event meta, python, semantics, hashseed}; sealed as one JSON.
    sa.Column("sealed_start", sa.LargeBinary, nullable=False),
    sa.Column("semantics", sa.Integer, nullable=False, default=1),
    sa.Column("traceparent", sa.String(60)),
    sa.Column("epoch", sa.Integer, nullable=False, default=0),
    sa.Column("worker_id", sa.String(80)),  # holds the epoch now; NULL when none does
    sa.Column("claimed_at", Utc),
    sa.Column("crashes", sa.Integer, nullable=False, default=0),  # deaths in a row without a new record
    # The next `seq`, and the bytes, unless its newest record says more (`store.journal.heads`).
    sa.Column("base_seq", sa.Integer, nullable=False, default=1),
    sa.Column("journal_bytes", sa.BigInteger, nullable=False, default=0),  # values and previews, as stored
    sa.Column("wake_at", Utc),  # a parked session is due then; NULL waits for the inbox only
    sa.Column("signalled_at", Utc),  # when Temporal was last asked to run it
    sa.Column("stop_requested", sa.JSON),  # {by, reason, kill, grace}
    sa.Column("started_at", Utc),
    sa.Column("ended_at", Utc),
    sa.Column("sealed_result", sa.LargeBinary),  # JSON: the value, or {"repr"}
    sa.Column("sealed_error", sa.LargeBinary),  # JSON: {type, message, traceback, seq}
    *made(),
    sa.UniqueConstraint("event_id", "trigger_id"),
    # In the order of the lists, so that a page of an org's, or of one project's, reads nothing else.
    sa.Index("ix_sessions_org_id_created_at_id", "org_id", "created_at", "id"),
    sa.Index("ix_sessions_project_id_org_id_created_at_id", "project_id", "org_id", "created_at", "id"),
    # What failed, or runs, may be a handful among very many; so may the sessions of one record or trigger.
    sa.Index("ix_sessions_org_id_state_created_at_id", "org_id", "state", "created_at", "id"),
    sa.Index(
        "ix_sessions_org_id_record_id_created_at_id",
        "org_id",
        "record_id",
        "created_at",
        "id",
        sqlite_where=sa.text("record_id IS NOT NULL"),
        postgresql_where=sa.text("record_id IS NOT NULL"),
    ),
    sa.Index(
        "ix_sessions_org_id_trigger_id_created_at_id",
        "org_id",
        "trigger_id",
        "created_at",
        "id",
        sqlite_where=sa.text("trigger_id IS NOT NULL"),
        postgresql_where=sa.text("trigger_id IS NOT NULL"),
    ),
    # What somebody runs now; asked of each worker every two seconds.
    sa.Index(
        "ix_sessions_worker_id",
        "worker_id",
        sqlite_where=sa.text("worker_id IS NOT NULL"),
        postgresql_where=sa.text("worker_id IS NOT NULL"),
    ),
    sa.Index("ix_sessions_state_wake_at", "state", "wake_at"),
    sa.Index("ix_sessions_deployment_id_ended_at", "deployment_id", "ended_at"),
    sa.Index(
        "ix_sessions_queue", "project_id", "ended_at", "admitted_at", "trigger_id", "event_id", "queue_key"
    ),
)

journal = sa.Table(
    "journal",
    metadata,
    sa.Column(
        "session_id", sa.String(40), sa.ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True
    ),
    sa.Column("strand", sa.String(100), primary_key=True),
    # Steps and waits count in `n`; logs and clock readings have counters of their own, told by `track`.
    sa.Column("track", sa.String(8), primary_key=True),  # call, value, log
    sa.Column("n", sa.Integer, primary_key=True),
    sa.Column("seq", sa.Integer, nullable=False),
    sa.Column("kind", sa.String(8), nullable=False),  # step, wait, value, log
    sa.Column("name", sa.String(300), nullable=False),
    sa.Column("digest", sa.LargeBinary(32), nullable=False),
    sa.Column(
        "status", sa.String(12), nullable=False
    ),  # started, ok, error, live, abandoned, fired, cancelled
    sa.Column("attempt", sa.Integer, nullable=False, default=1),
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Column("started_at", Utc, nullable=False),
    sa.Column("ended_at", Utc),
    sa.Column("sealed_value", sa.LargeBinary),  # what the session process sent, opaque to us
    sa.Column("blob_sha256", sa.String(64)),  # instead of the value where it is over 256 KB
    sa.Column("sealed_preview", sa.LargeBinary),  # bounded JSON for people, secrets masked
    sa.Column("journal_bytes", sa.BigInteger, nullable=False, server_default="0"),  # up to this record
    sa.UniqueConstraint("session_id", "seq"),
)

# What a session waits for or has not read yet.
inbox = sa.Table(
    "inbox",
    metadata,
    key(),
    sa.Column("session_id", sa.String(40), sa.ForeignKey("sessions.id", ondelete="CASCADE"), nullable=False),
    sa.Column("n", sa.Integer, nullable=False),  # the order of arrival
    sa.Column("topic", sa.String(300), nullable=False),  # a subscription's id, or `signal:` and its name
    sa.Column("kind", sa.String(16), nullable=False),  # event, signal
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("event_id", sa.String(40), index=True),
    sa.Column("sealed_payload", sa.LargeBinary),
    sa.Column("created_at", Utc, nullable=False),
    sa.Index("ix_inbox_session_id_topic", "session_id", "topic"),
)

# What of its inbox a parked session waits for: anything else does not start it. `*` is everything.
awaited = sa.Table(
    "awaited",
    metadata,
    sa.Column(
        "session_id", sa.String(40), sa.ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True
    ),
    sa.Column("topic", sa.String(300), primary_key=True),
)

subscriptions = sa.Table(
    "subscriptions",
    metadata,
    # The id is known in the session only: a successor or a copy of the session has its own row under it.
    sa.Column(
        "session_id", sa.String(40), sa.ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True
    ),
    key(),
    sa.Column("project_id", sa.String(40), nullable=False, index=True),
    sa.Column("connection_id", sa.String(40), index=True),
    sa.Column("trigger_id", sa.String(40), index=True),
    sa.Column("filter", sa.Text, nullable=False, default=""),
    sa.Column("created_at", Utc, nullable=False),
)

outcomes = sa.Table(
    "outcomes",
    metadata,
    key(),
    sa.Column("event_id", sa.String(40), nullable=False, index=True),
    sa.Column("session_id", sa.String(40), nullable=False, index=True),
    sa.Column("sealed_value", sa.LargeBinary, nullable=False),
    sa.Column("created_at", Utc, nullable=False),
)

values = sa.Table(
    "store_values",
    metadata,
    sa.Column(
        "project_id", sa.String(40), sa.ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True
    ),
    sa.Column("key", sa.String(500), primary_key=True),
    sa.Column("sealed_value", sa.LargeBinary, nullable=False),
    sa.Column("published_at", Utc),
    sa.Column("updated_at", Utc, nullable=False),
)

workers = sa.Table(
    "workers",
    metadata,
    key(),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("slots", sa.Integer, nullable=False),
    sa.Column("python", sa.String(40), nullable=False),
    sa.Column("isolation", sa.String(40), nullable=False),  # mount_namespace, landlock, none
    # With defaults of the database: a server of an earlier release writes rows without them.
    sa.Column("release", sa.String(40), nullable=False, server_default=""),  # its version; empty: did not say
    sa.Column("semantics", sa.JSON, nullable=False, server_default="[]"),  # versions that it carries, if told
    sa.Column("connected_at", Utc, nullable=False),
    sa.Column("seen_at", Utc, nullable=False),
    sa.Column("gone_at", Utc),
)
