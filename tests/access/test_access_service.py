"""
Users, tokens and logins: who a secret belongs to, and who may make another one.
"""

import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from factories import a_person

from ninelives_server.access.service import Access
from ninelives_server.errors import Conflict, Forbidden, Invalid, NotFound, SetupError, Unauthenticated
from ninelives_server.model.actors import ActorKind, Role, system
from ninelives_server.store import access as rows
from ninelives_server.store import audit, tables
from ninelives_server.store.core import SqliteStore, Store, Tx


@pytest.fixture
def access(database: Store) -> Access:
    return Access(store=database)


def later(monkeypatch: pytest.MonkeyPatch, store: Store, by: timedelta) -> None:
    """Let the rest of the test happen later."""
    # What a PostgreSQL glances at, it reads.
    for name in ("write", "read", "glance") if isinstance(store, SqliteStore) else ("write", "read"):
        original = getattr(store, name)

        def shifted(work: Callable, original=original, **how: object):
            def run(tx: Tx):
                tx.now += by
                return work(tx)

            return original(run, **how)

        monkeypatch.setattr(store, name, shifted)


async def actions(store: Store, org_id: str) -> list[str]:
    return [entry.action for entry in await store.read(lambda tx: audit.of_org(tx, org_id))]


async def test_a_new_server_has_an_admin_and_a_token_file(access: Access, tmp_path: Path):
    """
    The first start makes org, user and token; the file is readable by its owner only.
    """
    file = tmp_path / "private" / "admin-token"

    await access.bootstrap(file)

    token = file.read_text().strip()
    actor = await access.authenticate(token)
    assert token.startswith("nl_")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert (actor.user_name, actor.role, actor.kind) == ("admin", Role.ADMIN, ActorKind.USER)


async def test_a_second_start_changes_nothing(access: Access, tmp_path: Path):
    """
    Bootstrapping is idempotent.
    """
    await access.bootstrap(tmp_path / "admin-token")
    first = (tmp_path / "admin-token").read_text()

    await access.bootstrap(tmp_path / "admin-token")

    assert (tmp_path / "admin-token").read_text() == first


async def test_a_lost_token_file_is_made_again_for_the_same_user(access: Access, tmp_path: Path):
    """
    Whoever has the data directory is the administrator.
    """
    await access.bootstrap(tmp_path / "admin-token")
    before = await access.authenticate((tmp_path / "admin-token").read_text().strip())
    (tmp_path / "admin-token").unlink()

    await access.bootstrap(tmp_path / "admin-token")

    after = await access.authenticate((tmp_path / "admin-token").read_text().strip())
    assert (after.id, after.org_id) == (before.id, before.org_id)


async def test_a_token_file_that_cannot_be_written_is_a_clear_error(access: Access, tmp_path: Path):
    """
    The message names the file.
    """
    (tmp_path / "private").write_text("a file where a directory should be")

    with pytest.raises(SetupError, match="admin-token"):
        await access.bootstrap(tmp_path / "private" / "admin-token")


async def test_only_hashes_are_stored(access: Access, database: Store, tmp_path: Path):
    """
    Who reads the database learns no token, link or cookie.
    """
    ada = await a_person(database)
    _, token = await access.create_token(ada, "ci")
    link = await access.login_link(ada)
    _, cookie = await access.login(link)

    def everything(tx: Tx) -> str:
        return repr([tx.connection.execute(sa.select(t)).all() for t in tables.metadata.sorted_tables])

    dump = await database.read(everything)
    assert not [secret for secret in (token, link, cookie) if secret in dump]


@pytest.mark.parametrize("bearer", ["", "nl_", "nl_unknown", "ünïcode", "x" * 10_000])
async def test_an_unknown_token_is_nobody(access: Access, bearer: str):
    """
    There is one message for all of them.
    """
    with pytest.raises(Unauthenticated, match="not valid"):
        await access.authenticate(bearer)


async def test_a_token_has_the_scopes_that_were_asked_for(access: Access, database: Store):
    """
    A token that may only read is refused where something would change.
    """
    ada = await a_person(database)
    _, secret = await access.create_token(ada, "dashboard", scopes=["read"])

    reader = await access.authenticate(secret)

    assert reader.scopes == {"read"}
    reader.needs(Role.VIEWER)
    with pytest.raises(Forbidden, match="only read"):
        await access.create_token(reader, "more")
    with pytest.raises(Forbidden, match="only read"):
        await access.login_link(reader)


async def test_a_token_expires(access: Access, database: Store, monkeypatch: pytest.MonkeyPatch):
    """
    After its time it is as unknown as any other.
    """
    ada = await a_person(database)
    soon = datetime.now(UTC) + timedelta(hours=1)
    _, secret = await access.create_token(ada, "short", expires_at=soon)
    assert (await access.authenticate(secret)).id == ada.id

    later(monkeypatch, database, timedelta(hours=2))

    with pytest.raises(Unauthenticated):
        await access.authenticate(secret)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"scopes": ["worker"]}, "'all' or 'read', not worker"),
        ({"scopes": []}, "not none"),
        ({"expires_at": datetime(2020, 1, 1, tzinfo=UTC)}, "is past"),
        ({"expires_at": datetime(2120, 1, 1)}, "no time zone"),
    ],
)
async def test_a_token_that_makes_no_sense_is_refused(
    access: Access, database: Store, keywords, message: str
):
    """
    The message names the value.
    """
    ada = await a_person(database)

    with pytest.raises(Invalid, match=message):
        await access.create_token(ada, "x", **keywords)


async def test_a_revoked_token_is_useless_at_once(access: Access, database: Store):
    """
    Nothing is cached.
    """
    ada = await a_person(database)
    token_id, secret = await access.create_token(ada, "ci")
    assert [t.name for t in await access.list_tokens(ada)] == ["ci"]

    await access.revoke_token(ada, token_id)

    with pytest.raises(Unauthenticated):
        await access.authenticate(secret)
    assert await access.list_tokens(ada) == []


async def test_the_use_of_a_token_is_noted_once_a_minute(
    access: Access, database: Store, monkeypatch: pytest.MonkeyPatch
):
    """
    People see whether a token is used; the database does not get a write for each request.
    """
    ada = await a_person(database)
    _, secret = await access.create_token(ada, "ci")
    await access.authenticate(secret)
    [first] = await access.list_tokens(ada)
    await access.authenticate(secret)
    [again] = await access.list_tokens(ada)
    later(monkeypatch, database, timedelta(minutes=2))
    await access.authenticate(secret)
    [last] = await access.list_tokens(ada)

    assert first.last_used_at is not None
    assert again.last_used_at == first.last_used_at
    assert last.last_used_at > first.last_used_at


async def test_a_login_link_works_once(access: Access, database: Store):
    """
    Looking at the link does not use it up; logging in does.
    """
    ada = await a_person(database)
    assert not await access.has_logged_in()
    link = await access.login_link(ada)
    assert await access.peek_login(link) == "ada"
    assert await access.peek_login(link) == "ada"

    actor, cookie = await access.login(link)

    assert actor.id == ada.id
    assert (await access.browser(cookie)).id == ada.id
    assert await access.has_logged_in()
    assert await access.peek_login(link) is None
    with pytest.raises(Unauthenticated, match="ninelives login --web"):
        await access.login(link)


async def test_a_login_link_is_good_for_ten_minutes(
    access: Access, database: Store, monkeypatch: pytest.MonkeyPatch
):
    """
    An old link in a chat log opens nothing.
    """
    link = await access.login_link(await a_person(database))

    later(monkeypatch, database, timedelta(minutes=10, seconds=1))

    assert await access.peek_login(link) is None
    with pytest.raises(Unauthenticated):
        await access.login(link)


async def test_a_browser_stays_logged_in_for_two_weeks(
    access: Access, database: Store, monkeypatch: pytest.MonkeyPatch
):
    """
    13 days yes, 15 days no.
    """
    _, cookie = await access.login(await access.login_link(await a_person(database)))

    later(monkeypatch, database, timedelta(days=13))
    assert await access.browser(cookie) is not None
    later(monkeypatch, database, timedelta(days=2))
    assert await access.browser(cookie) is None


async def test_logging_out_ends_this_login_only(access: Access, database: Store):
    """
    Another browser of the same user stays logged in.
    """
    ada = await a_person(database)
    _, here = await access.login(await access.login_link(ada))
    _, there = await access.login(await access.login_link(ada))

    await access.logout(here)
    await access.logout("no such cookie")

    assert await access.browser(here) is None
    assert await access.browser(there) is not None


async def test_each_kind_of_secret_opens_its_own_door_only(access: Access, database: Store):
    """
    A link is no token, a token no cookie, a cookie no link.
    """
    ada = await a_person(database)
    link = await access.login_link(ada)
    _, token = await access.create_token(ada, "ci")
    _, worker = await access.worker_token(ada, "w1")
    _, cookie = await access.login(await access.login_link(ada))

    for wrong in (link, cookie):
        with pytest.raises(Unauthenticated):
            await access.authenticate(wrong)
    for wrong in (link, token, worker, "", None):
        assert await access.browser(wrong) is None
    for wrong in (token, worker, cookie):
        assert await access.peek_login(wrong) is None


async def test_a_workers_token_is_a_worker(access: Access, database: Store):
    """
    It is no user and may do nothing that a user may.
    """
    ada = await a_person(database)
    token_id, secret = await access.worker_token(ada, "w1")

    worker = await access.authenticate(secret)

    assert (worker.kind, worker.id, worker.scopes) == (ActorKind.WORKER, token_id, {"worker"})
    for attempt in (
        access.create_token(worker, "x"),
        access.worker_token(worker, "x"),
        access.login_link(worker),
        access.create_user(worker, "x", Role.ADMIN),
        access.revoke_token(worker, token_id),
    ):
        with pytest.raises(Forbidden):
            await attempt


async def test_the_server_makes_links_and_tokens_in_the_administrators_name(
    access: Access, database: Store, tmp_path: Path
):
    """
    `up` prints a link and starts a worker without anybody being logged in.
    """
    await access.bootstrap(tmp_path / "t")
    admin = await access.authenticate((tmp_path / "t").read_text().strip())

    link = await access.login_link(system(admin.org_id))
    _, worker = await access.worker_token(system(admin.org_id), "local")

    assert await access.peek_login(link) == "admin"
    assert (await access.authenticate(worker)).kind is ActorKind.WORKER


async def test_only_an_administrator_makes_users_and_links_for_others(access: Access, database: Store):
    """
    A member logs in as nobody else.
    """
    ada = await a_person(database)
    await access.create_user(ada, "bob", Role.MEMBER)
    bob, _ = await access.login(await access.login_link(ada, "bob"))

    assert bob.role is Role.MEMBER
    assert await access.peek_login(await access.login_link(bob)) == "bob"
    with pytest.raises(Forbidden, match="needs the role admin"):
        await access.login_link(bob, "ada")
    with pytest.raises(Forbidden, match="needs the role admin"):
        await access.create_user(bob, "carl", Role.ADMIN)
    with pytest.raises(Conflict, match="'bob'"):
        await access.create_user(ada, "bob", Role.MEMBER)
    with pytest.raises(Invalid):
        await access.create_user(ada, " \n", Role.MEMBER)


async def test_a_disabled_user_can_do_nothing(access: Access, database: Store):
    """
    Tokens, logins and links of a disabled user are dead, without being looked for one by one.
    """
    ada = await a_person(database)
    _, token = await access.create_token(ada, "ci")
    link = await access.login_link(ada)
    _, cookie = await access.login(await access.login_link(ada))
    users = tables.users

    await database.write(lambda tx: tx.connection.execute(sa.update(users).values(disabled_at=tx.now)))

    with pytest.raises(Unauthenticated):
        await access.authenticate(token)
    assert await access.browser(cookie) is None
    assert await access.peek_login(link) is None


async def test_another_org_sees_nothing(access: Access, database: Store):
    """
    Tokens, users and the audit log of one org do not exist for the other one.
    """
    ada = await a_person(database, org="acme", name="ada")
    eve = await a_person(database, org="evil", name="eve")
    token_id, _ = await access.create_token(ada, "ci")

    assert await access.list_tokens(eve) == []
    with pytest.raises(NotFound):
        await access.revoke_token(eve, token_id)
    with pytest.raises(NotFound, match="'ada' in your org"):
        await access.login_link(eve, "ada")
    assert [t.id for t in await access.list_tokens(ada)] == [token_id]
    assert await actions(database, eve.org_id) == []


async def test_a_member_sees_their_own_tokens_only(access: Access, database: Store):
    """
    The administrator sees all of the org's.
    """
    ada = await a_person(database)
    bob = await a_person(database, name="bob", role=Role.MEMBER, org_id=ada.org_id)
    hers, _ = await access.create_token(ada, "hers")
    his, _ = await access.create_token(bob, "his")

    assert [t.id for t in await access.list_tokens(bob)] == [his]
    assert {t.id for t in await access.list_tokens(ada)} == {hers, his}
    with pytest.raises(NotFound):
        await access.revoke_token(bob, hers)
    await access.revoke_token(ada, his)


async def test_what_happens_is_written_down(access: Access, database: Store):
    """
    Each change has an audit row, made in the same unit.
    """
    ada = await a_person(database)
    token_id, _ = await access.create_token(ada, "ci")
    await access.revoke_token(ada, token_id)
    _, cookie = await access.login(await access.login_link(ada))
    await access.logout(cookie)
    await access.create_user(ada, "bob", Role.VIEWER)

    assert sorted(await actions(database, ada.org_id)) == [
        "login_link.created",
        "token.created",
        "token.revoked",
        "user.created",
        "user.logged_in",
        "user.logged_out",
    ]


async def test_old_logins_are_swept_away(access: Access, database: Store, monkeypatch: pytest.MonkeyPatch):
    """
    Links and logins that ended are deleted; tokens are kept, so that people see them.
    """
    ada = await a_person(database)
    await access.login(await access.login_link(ada))
    await access.create_token(ada, "ci")
    assert await access.sweep() == 0

    later(monkeypatch, database, timedelta(days=16))

    assert await access.sweep() == 2
    assert len(await access.list_tokens(ada)) == 1


def test_a_holder_shows_no_hash():
    """
    What is logged by accident does not help to guess a secret.
    """
    new = rows.NewToken(user_id="u", org_id="o", kind="api", hash=b"hidden", created_by="u")

    assert "hidden" not in repr(new)
