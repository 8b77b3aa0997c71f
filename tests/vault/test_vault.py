"""
The vault: what it seals opens for the same owner and place only, and survives what happens to keys.
"""

import base64
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ninelives_server.errors import SetupError
from ninelives_server.store import data_keys
from ninelives_server.store.core import Store, Tx
from ninelives_server.vault import keys
from ninelives_server.vault.vault import OVERHEAD, Vault


def a_ring(*names: str) -> keys.Keyring:
    made = ",".join(f"{n}:{base64.b64encode(n.encode().ljust(32, b'.')).decode()}" for n in names)
    return keys.parse(made, "the test")


class Rows:
    """Rows in memory, for what needs no database."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[str, bytes]] = {}

    def find(self, tx, owner):
        return self.rows.get(owner)

    def insert(self, tx, owner, master_id, wrapped):
        return self.rows.setdefault(owner, (master_id, wrapped)) == (master_id, wrapped)

    def replace(self, tx, owner, master_id, wrapped):
        self.rows[owner] = (master_id, wrapped)

    def delete(self, tx, owner):
        self.rows.pop(owner, None)

    def everything(self, tx):
        return [(owner, *row) for owner, row in self.rows.items()]

    def transaction(self, tx):
        return tx


class Unit:
    now = datetime(2026, 1, 1, tzinfo=UTC)


def a_vault(*owners: str, rows: Rows | None = None, ring: keys.Keyring | None = None) -> Vault:
    vault = Vault(ring or a_ring("k1"), rows or Rows())
    for owner in owners:
        vault.create_key(Unit(), owner)
    return vault


@given(plain=st.binary(max_size=5000), owner=st.text(), context=st.text())
def test_what_is_sealed_opens_again(plain: bytes, owner: str, context: str):
    """
    Any bytes come back as they were, and do not stand in the sealed value.
    """
    vault = a_vault(owner)

    sealed = vault.seal(Unit(), owner, context, plain)

    assert vault.open(Unit(), owner, context, sealed) == plain
    assert len(sealed) == len(plain) + OVERHEAD
    assert len(plain) < 8 or plain not in sealed


@given(
    plain=st.binary(max_size=50),
    mine=st.tuples(st.sampled_from(["prj_a", "prj_b", "prj"]), st.text(max_size=8)),
    other=st.tuples(st.sampled_from(["prj_a", "prj_b", "prj"]), st.text(max_size=8)),
)
def test_a_sealed_value_is_bound_to_its_owner_and_place(plain: bytes, mine, other):
    """
    Copied to another row, column or project, a value does not open.
    """
    vault = a_vault("prj_a", "prj_b", "prj")
    sealed = vault.seal(Unit(), *mine, plain)

    if mine == other:
        assert vault.open(Unit(), *other, sealed) == plain
    else:
        with pytest.raises(SetupError, match="changed, or belongs to another row"):
            vault.open(Unit(), *other, sealed)


@given(data=st.data(), plain=st.binary(max_size=40))
def test_a_changed_bit_is_noticed(data: st.DataObject, plain: bytes):
    """
    Whatever bit is flipped, in the head or in the body, the value does not open.
    """
    vault = a_vault("p")
    sealed = bytearray(vault.seal(Unit(), "p", "c", plain))
    place = data.draw(st.integers(0, len(sealed) - 1))
    sealed[place] ^= 1 << data.draw(st.integers(0, 7))

    with pytest.raises(SetupError):
        vault.open(Unit(), "p", "c", bytes(sealed))


@given(st.binary(max_size=80))
def test_what_was_never_sealed_does_not_open(garbage: bytes):
    """
    There is no plaintext mode: what is no sealed value is refused.
    """
    vault = a_vault("p")

    with pytest.raises(SetupError):
        vault.open(Unit(), "p", "c", garbage)


def test_the_same_value_is_sealed_differently_each_time():
    """
    Equal values cannot be told from the database.
    """
    vault = a_vault("p")

    assert len({vault.seal(Unit(), "p", "c", b"same") for _ in range(1000)}) == 1000


def test_another_process_opens_what_this_one_sealed():
    """
    Each process seals under a salt of its own; all of them open.
    """
    rows = Rows()
    first, second = a_vault("p", rows=rows), a_vault(rows=rows)

    assert second.open(Unit(), "p", "c", first.seal(Unit(), "p", "c", b"x")) == b"x"
    assert first.open(Unit(), "p", "c", second.seal(Unit(), "p", "c", b"y")) == b"y"


def test_a_salt_is_replaced_before_its_nonces_run_out(monkeypatch: pytest.MonkeyPatch):
    """
    A key encrypts a bounded number of values; then another one is derived.
    """
    monkeypatch.setattr("ninelives_server.vault.vault._SEALS_PER_SALT", 10)
    vault = a_vault("p")

    sealed = [vault.seal(Unit(), "p", "c", bytes([n])) for n in range(35)]

    assert len({value[1:17] for value in sealed}) >= 3
    assert [vault.open(Unit(), "p", "c", value) for value in sealed] == [bytes([n]) for n in range(35)]


def test_rotation_wraps_keys_anew_and_leaves_values_alone():
    """
    After a rotation the old master key is not needed any more, and what was sealed before still opens.
    """
    rows = Rows()
    old = a_vault("p", "q", rows=rows, ring=a_ring("k1"))
    sealed = old.seal(Unit(), "p", "c", b"kept")

    assert Vault(a_ring("k2", "k1"), rows).rotate(Unit()) == 2
    assert Vault(a_ring("k2", "k1"), rows).rotate(Unit()) == 0

    only_new = Vault(a_ring("k2"), rows)
    only_new.fits(Unit())
    assert only_new.open(Unit(), "p", "c", sealed) == b"kept"


def test_a_missing_master_key_is_named():
    """
    A server with other keys than the database's says which one is missing and where it looked.
    """
    rows = Rows()
    a_vault("p", rows=rows, ring=a_ring("k1"))

    with pytest.raises(SetupError, match="'k1', which is not in the test"):
        Vault(a_ring("k2"), rows).fits(Unit())


def test_another_key_under_the_same_id_is_noticed():
    """
    The id alone proves nothing: the key itself must unwrap.
    """
    rows = Rows()
    a_vault("p", rows=rows, ring=a_ring("k1"))
    impostor = keys.parse("k1:" + base64.b64encode(b"z" * 32).decode(), "the test")

    with pytest.raises(SetupError, match="'k1' in the test is not the one that sealed this database"):
        Vault(impostor, rows).fits(Unit())


def test_a_wrapped_key_is_bound_to_its_owner():
    """
    Swapping two projects' rows does not let one read the other's secrets.
    """
    rows = Rows()
    a_vault("p", "q", rows=rows)
    rows.rows["p"], rows.rows["q"] = rows.rows["q"], rows.rows["p"]

    with pytest.raises(SetupError):
        Vault(a_ring("k1"), rows).fits(Unit())


def test_nothing_shows_a_key():
    """
    No repr, no message: keys do not reach logs.
    """
    ring = a_ring("k1")
    secret = ring.keys["k1"]

    assert repr(secret)[2:-1] not in repr(ring)
    vault = a_vault("p", rows=(rows := Rows()))
    vault = Vault(a_ring("k1"), rows)
    vault.seal(Unit(), "p", "c", b"")
    assert "key=" not in repr(vault._keys)


async def test_a_project_whose_unit_failed_leaves_no_key_behind(database: Store, vault: Vault):
    """
    A key that was rolled back is not remembered: what is sealed later opens for everybody.
    """
    await database.write(vault.start)

    def doomed(tx: Tx) -> None:
        vault.create_key(tx, "prj_x")
        vault.seal(tx, "prj_x", "c", b"1")
        raise LookupError

    with pytest.raises(LookupError):
        await database.write(doomed)
    with pytest.raises(SetupError, match="no data key of prj_x"):
        await database.write(lambda tx: vault.seal(tx, "prj_x", "c", b"2"))

    await database.write(lambda tx: vault.create_key(tx, "prj_x"))
    sealed = await database.write(lambda tx: vault.seal(tx, "prj_x", "c", b"3"))
    other = Vault(keys.parse("k1:" + "A" * 43 + "=", "the test"), data_keys)
    assert await database.read(lambda tx: other.open(tx, "prj_x", "c", sealed)) == b"3"


async def test_a_key_is_remembered_once_it_is_committed(database: Store, vault: Vault):
    """
    Sealing reads the key row once, not for each value.
    """
    await database.write(lambda tx: vault.create_key(tx, "prj_x"))
    await database.write(lambda tx: vault.seal(tx, "prj_x", "c", b"1"))

    assert "prj_x" in vault._keys


async def test_a_destroyed_key_makes_values_unreadable(database: Store, vault: Vault):
    """
    Deleting a project destroys what it sealed, whatever copies of the rows remain.
    """
    await database.write(lambda tx: vault.create_key(tx, "prj_x"))
    sealed = await database.write(lambda tx: vault.seal(tx, "prj_x", "c", b"1"))

    await database.write(lambda tx: vault.destroy_key(tx, "prj_x"))

    with pytest.raises(SetupError, match="destroyed"):
        await database.read(lambda tx: vault.open(tx, "prj_x", "c", sealed))


async def test_making_a_key_again_keeps_the_first(database: Store, vault: Vault):
    """
    Two servers that start together use one key.
    """
    await database.write(vault.start)
    sealed = await database.write(lambda tx: vault.seal(tx, "server", "c", b"1"))

    other = Vault(keys.parse("k1:" + "A" * 43 + "=", "the test"), data_keys)
    await database.write(other.start)

    assert await database.read(lambda tx: other.open(tx, "server", "c", sealed)) == b"1"


async def test_rotation_in_a_database(database: Store, vault: Vault):
    """
    `rotate` works on the real rows too.
    """
    await database.write(vault.start)
    sealed = await database.write(lambda tx: vault.seal(tx, "server", "c", b"1"))
    first = base64.b64encode(base64.b64decode("A" * 43 + "=")).decode()
    both = keys.parse(f"k2:{base64.b64encode(b'n' * 32).decode()},k1:{first}", "the test")

    assert await database.write(Vault(both, data_keys).rotate) == 1

    only = Vault(keys.parse(f"k2:{base64.b64encode(b'n' * 32).decode()}", "the test"), data_keys)
    await database.read(only.fits)
    assert await database.read(lambda tx: only.open(tx, "server", "c", sealed)) == b"1"
