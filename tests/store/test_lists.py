"""Lists that people look at: a page reads its rows in the order of an index, however many there are."""

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from ninelives_server.model.sessions import SessionState
from ninelives_server.store import events, sessions, sweeps
from ninelives_server.store.core import Store, Tx
from ninelives_server.store.events import Wanted
from ninelives_server.store.sessions import Filters

pytestmark = pytest.mark.store


def plan_of(tx: Tx, ask: Callable[[], Any]) -> str:
    """Ask, and return how SQLite goes about the one statement that it takes."""
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    sa.event.listen(tx.connection, "before_cursor_execute", note)
    ask()
    sa.event.remove(tx.connection, "before_cursor_execute", note)
    [(statement, parameters)] = asked
    steps = tx.connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
    return "; ".join(step[3] for step in steps)


@pytest.mark.parametrize(
    ("filters", "index"),
    [
        (Filters(), "ix_sessions_org_id_created_at_id"),
        (Filters(project_id="prj"), "ix_sessions_project_id_org_id_created_at_id"),
        (Filters(trigger_id="trg"), "ix_sessions_org_id_trigger_id_created_at_id"),
        (Filters(trigger_id="trg", project_id="prj"), "ix_sessions_org_id_trigger_id_created_at_id"),
        (Filters(state=SessionState.ERROR), "ix_sessions_org_id_state_created_at_id"),
        (Filters(state=SessionState.ERROR, project_id="prj"), "ix_sessions_org_id_state_created_at_id"),
    ],
)
async def test_a_page_of_sessions_sorts_nothing(sqlite: Store, filters, index):
    """
    Fifty thousand that wait must not be read to show the newest fifty.
    """
    plan = await sqlite.read(
        lambda tx: plan_of(tx, lambda: sessions.listing(tx, "org", filters, before=None, limit=50))
    )

    assert index in plan
    assert "TEMP B-TREE" not in plan


async def test_the_sessions_of_a_record_are_found_by_it(sqlite: Store):
    """
    They are few, wherever they stand among the others.
    """
    found_by = Filters(record_id="00Q000000000001AAA")

    plan = await sqlite.read(
        lambda tx: plan_of(tx, lambda: sessions.listing(tx, "org", found_by, before=None, limit=50))
    )

    assert "ix_sessions_org_id_record_id_created_at_id (org_id=? AND record_id=?)" in plan


@pytest.mark.parametrize("ask", [lambda tx: sweeps.held_by(tx, "wrk_1"), sweeps.orphans])
async def test_what_workers_hold_is_found_among_what_runs(sqlite: Store, ask: Callable[[Tx], Any]):
    """
    Every server asks every two seconds; those that have ended must cost nothing.
    """
    plan = await sqlite.read(lambda tx: plan_of(tx, lambda: ask(tx)))

    assert "sessions USING INDEX ix_sessions_worker_id" in plan


async def test_a_page_of_events_sorts_nothing(sqlite: Store):
    """
    Nor must those of another project be passed over.
    """
    plan = await sqlite.read(
        lambda tx: plan_of(tx, lambda: events.of_project(tx, "prj", wanted=Wanted(), before=None, limit=50))
    )

    assert plan == "SEARCH events USING INDEX ix_events_project_id_id (project_id=?)"
