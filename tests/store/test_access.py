"""
Rows of users and tokens: what the queries promise besides what the service tests show.
"""

from datetime import timedelta

from factories import a_person

from ninelives_server.model.actors import Role
from ninelives_server.store import access
from ninelives_server.store.access import NewToken
from ninelives_server.store.core import Store


async def test_the_first_admin_is_the_oldest_who_may_act(database: Store):
    """
    Whose token the server makes by itself.
    """
    assert await database.read(access.first_admin) is None
    await a_person(database, org="a", name="member", role=Role.MEMBER)
    first = await a_person(database, org="b", name="first")
    await a_person(database, org="c", name="second")

    org_id, user = await database.read(access.first_admin)

    assert (org_id, user.id, user.name) == (first.org_id, first.id, "first")


async def test_a_token_can_be_revoked_once(database: Store):
    """
    Of two who use a login link at once, one gets in.
    """
    ada = await a_person(database)
    new = NewToken(user_id=ada.id, org_id=ada.org_id, kind="login_link", hash=b"h" * 32, created_by=ada.id)
    token_id = await database.write(lambda tx: access.insert_token(tx, new))

    assert await database.write(lambda tx: access.revoke(tx, token_id))
    assert not await database.write(lambda tx: access.revoke(tx, token_id))


async def test_a_token_of_a_user_who_left_the_org_is_useless(database: Store):
    """
    Membership is looked at each time.
    """
    ada = await a_person(database)
    other = await a_person(database, org="other", name="bob")
    new = NewToken(user_id=ada.id, org_id=other.org_id, kind="api", hash=b"h" * 32, created_by=ada.id)
    await database.write(lambda tx: access.insert_token(tx, new))

    assert await database.read(lambda tx: access.holder(tx, b"h" * 32, ("api",))) is None


async def test_deleting_the_expired_goes_in_small_batches(database: Store):
    """
    A year of logins is not one transaction.
    """
    ada = await a_person(database)

    def make(tx):
        for number in range(5):
            access.insert_token(
                tx,
                NewToken(
                    user_id=ada.id,
                    org_id=ada.org_id,
                    kind="browser",
                    hash=bytes([number]) * 32,
                    expires_at=tx.now - timedelta(days=number),
                    created_by=ada.id,
                ),
            )

    await database.write(make)

    ends = [
        await database.write(lambda tx: access.delete_expired(tx, tx.now - timedelta(hours=1), limit=3))
        for _ in range(3)
    ]
    assert ends == [3, 1, 0]
