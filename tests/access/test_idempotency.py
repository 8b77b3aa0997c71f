"""
Answers kept for `Idempotency-Key`: the same key gets the same answer, for a day.
"""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from ninelives_server.access.idempotency import Answer, Idempotency
from ninelives_server.store import tables
from ninelives_server.store.core import Store
from ninelives_server.vault.vault import Vault

KEY, REQUEST = b"k" * 32, b"r" * 32


@pytest.fixture
async def kept(database: Store, vault: Vault) -> Idempotency:
    await database.write(vault.start)
    return Idempotency(store=database, vault=vault)


async def test_an_answer_is_remembered(kept: Idempotency):
    """
    Status, body and what it answered come back.
    """
    assert await kept.recall(KEY) is None

    await kept.remember(KEY, REQUEST, 201, b'{"id": 1}')

    assert await kept.recall(KEY) == Answer(request=REQUEST, status=201, body=b'{"id": 1}')
    assert await kept.recall(b"o" * 32) is None


async def test_the_first_answer_stays(kept: Idempotency):
    """
    Two servers that were faster than each other's notice keep one answer.
    """
    await kept.remember(KEY, REQUEST, 201, b"first")
    await kept.remember(KEY, REQUEST, 500, b"second")

    assert (await kept.recall(KEY)).body == b"first"


async def test_a_new_token_in_an_answer_is_sealed(kept: Idempotency, database: Store):
    """
    An answer may show a secret once; the database never does.
    """
    await kept.remember(KEY, REQUEST, 201, b"nl_very_secret")

    rows = await database.read(lambda tx: tx.connection.execute(sa.select(tables.idempotency)).all())
    assert "nl_very_secret" not in repr(rows)
    assert "nl_very_secret" not in repr(await kept.recall(KEY))


async def test_after_a_day_the_key_is_free_again(kept: Idempotency, database: Store):
    """
    The old answer is forgotten and replaced.
    """
    await kept.remember(KEY, REQUEST, 201, b"old")
    table = tables.idempotency
    old = sa.update(table)
    await database.write(
        lambda tx: tx.connection.execute(old.values(created_at=tx.now - timedelta(hours=25)))
    )
    assert await kept.recall(KEY) is None

    await kept.remember(KEY, REQUEST, 200, b"new")

    assert (await kept.recall(KEY)).body == b"new"
