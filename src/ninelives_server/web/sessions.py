"""Pages of sessions: the list with its filters in the address, and one session as it runs."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Query
from starlette.responses import Response, StreamingResponse

from ninelives_server.errors import Invalid, NotFound
from ninelives_server.ids import TriggerId
from ninelives_server.model.projects import Project
from ninelives_server.model.sessions import Print, Session, SessionState, Step
from ninelives_server.sessions.service import SessionDetail
from ninelives_server.web import live, timeline
from ninelives_server.web.guards import Member, PageRoute
from ninelives_server.web.pages import View
from ninelives_server.web.tails import CHUNK, Tail

router = APIRouter(route_class=PageRoute, include_in_schema=False)

#: Steps on one page of a timeline.
STEPS = 200
#: With more records than this, a session page looks for functions that should be no steps.
MANY = 1000
#: Prints on one page of a log.
PRINTS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Filters of the list, as they stand in the address."""

    project: str = ""
    state: str = ""
    trigger: str = ""
    since: str = ""
    until: str = ""
    record: str = ""

    def query(self) -> dict[str, str]:
        """Return those that are set, for links."""
        return {name: value for name in self.__slots__ if (value := getattr(self, name))}


async def asked_of(
    project: str = "", state: str = "", trigger: str = "", since: str = "", until: str = "", record: str = ""
) -> Asked:
    """Read the filters of the address."""
    return Asked(
        project=project, state=state, trigger=trigger, since=since, until=until, record=record.strip()
    )


def moment(text: str, name: str) -> datetime | None:
    """Read a time of the address; a time without a zone is UTC.

    Raises:
        Invalid: It is no time.
    """
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid(f"{name}: {text!r} is no time; write it as 2026-11-23T10:00") from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at


def _state(text: str) -> SessionState | None:
    try:
        return SessionState(text) if text else None
    except ValueError:
        known = ", ".join(state.value for state in SessionState)
        raise Invalid(f"state: {text!r} is none of {known}") from None


async def _listing(view: View, asked: Asked, cursor: str | None, project: Project | None) -> dict[str, Any]:
    services, actor = view.services, view.actor
    projects = await services.projects.list(actor)
    triggers = [t for p in projects if project is None or p.id == project.id
                for t in await services.projects.triggers(actor, p.id)]  # fmt: skip
    page = await services.sessions.list(
        actor,
        project_ref=project.id if project else asked.project or None,
        state=_state(asked.state),
        trigger_id=asked.trigger or None,
        record_id=asked.record or None,
        since=moment(asked.since, "since"),
        until=moment(asked.until, "until"),
        cursor=cursor,
        limit=50,
    )
    here = ("projects", project.name, "sessions") if project else ("sessions",)
    return {
        "asked": asked,
        "page": page,
        "project": project,
        "projects": projects,
        "project_names": {p.id: p.name for p in projects},
        "triggers": triggers,
        "trigger_names": {trigger.id: trigger.name for trigger in triggers},
        "states": [state.value for state in SessionState],
        "here": view.at.url(*here),
        "live_href": view.at.url(*here, "live", **asked.query(), cursor=cursor),
        "next_href": view.at.url(*here, **asked.query(), cursor=page.next_cursor) if page.next_cursor else "",
        "now": await view.now(),
    }


@router.get("/sessions")
async def sessions(
    view: Member, asked: Annotated[Asked, Depends(asked_of)], cursor: str | None = None
) -> Response:
    """List sessions of all projects, newest first."""
    return view.page("sessions.html", **await _listing(view, asked, cursor, None))


@router.get("/sessions/live")
async def sessions_live(
    view: Member, asked: Annotated[Asked, Depends(asked_of)], cursor: str | None = None
) -> Response:
    """Keep the list true while it is looked at."""
    return _live_list(view, asked, cursor, None)


@router.get("/projects/{ref}/sessions")
async def project_sessions(
    view: Member, ref: str, asked: Annotated[Asked, Depends(asked_of)], cursor: str | None = None
) -> Response:
    """List a project's sessions, newest first."""
    project = await view.services.projects.get(view.actor, ref)
    return view.page("sessions.html", **await _listing(view, asked, cursor, project))


@router.get("/projects/{ref}/sessions/live")
async def project_sessions_live(
    view: Member, ref: str, asked: Annotated[Asked, Depends(asked_of)], cursor: str | None = None
) -> Response:
    """Keep the list true while it is looked at."""
    return _live_list(view, asked, cursor, await view.services.projects.get(view.actor, ref))


def _live_list(view: View, asked: Asked, cursor: str | None, project: Project | None) -> Response:
    async def render() -> live.Part:
        context = await _listing(view, asked, cursor, project)
        return live.Part(view.fragment("_sessions.html", context))

    return live.stream(view, [("session", None)], render)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a session page shows of a journal: the newest steps and prints, or those behind a place."""

    steps: Tail[Step]
    prints: Tail[Print]


def _shown(view: View, session_id: str) -> Shown:
    services, actor = view.services.sessions, view.actor

    async def steps(after: int, limit: int) -> Sequence[Step]:
        return await services.steps(actor, session_id, after=after, limit=limit)

    async def prints(after: int, limit: int) -> Sequence[Print]:
        return await services.prints(actor, session_id, after=after, limit=limit)

    return Shown(steps=Tail(steps, STEPS), prints=Tail(prints, PRINTS))


async def _around(view: View, session: Session) -> dict[str, Any]:
    """Return the things that a session belongs to; they do not change while it runs."""
    services, actor = view.services, view.actor
    project = await services.projects.get(actor, session.project_id)
    triggers = {trigger.id: trigger for trigger in await services.projects.triggers(actor, project.id)}
    return {
        "project": project,
        "trigger": triggers.get(TriggerId(session.trigger_id or "")),
        "build": await services.projects.build(actor, session.build_id),
        "newest_build": (await services.projects.builds(actor, project.id))[0],
        "input": await _input(view, session),
    }


async def _input(view: View, session: Session) -> object:
    """Return the data of the event that started a session; `None` where there is none, or no longer."""
    if session.event_id is None:
        return None
    try:
        return (await view.services.events.get(view.actor, session.event_id)).data
    except NotFound:  # events may be kept for a shorter time than sessions
        return None


async def _now_of(view: View, detail: SessionDetail, steps: Sequence[Step], after: int) -> dict[str, Any]:
    """Return what changes while a session runs."""
    session = detail.session
    now = await view.now()
    axis = timeline.axis(session.started_at or session.created_at, session.ended_at, steps, now)
    return {
        "detail": detail,
        "session": session,
        "is_over": session.state.is_terminal,
        "axis": axis,
        "rows": list(timeline.rows(steps, axis, epoch_before=None if after else 1)),
        "steps_before": after > 0,
        "failed_seq": (detail.error or {}).get("seq"),
        "now": now,
        "width": timeline.WIDTH,
        "short_steps": await _short_steps(view, session, steps),
    }


async def _short_steps(view: View, session: Session, steps: Sequence[Step]) -> Sequence[tuple[str, int]]:
    """Return the functions that cost more as steps than they do; asked only where there are many steps."""
    if not steps or steps[-1].seq <= MANY:
        return ()
    return await view.services.sessions.short_steps(view.actor, session.id)


async def _context(view: View, session_id: str, shown: Shown) -> dict[str, Any]:
    # The row first: what is read after it is at least as new, so an ended session is never shown half.
    detail = await view.services.sessions.get(view.actor, session_id)
    steps = await shown.steps.read()
    prints = await shown.prints.read()
    return {
        **await _now_of(view, detail, steps, shown.steps.after),
        "prints": prints,
        "prints_before": shown.prints.after > 0,
    }


@router.get("/sessions/{session_id}")
async def session(view: Member, session_id: str) -> Response:
    """Show a session: its state, steps, prints and result."""
    context = await _context(view, session_id, _shown(view, session_id))
    return view.page("session.html", **context, **await _around(view, context["session"]))


@router.get("/sessions/{session_id}/live")
async def session_live(view: Member, session_id: str) -> Response:
    """Keep a session's page true until it has ended."""
    shown = _shown(view, session_id)
    detail = await view.services.sessions.get(view.actor, session_id)
    around = await _around(view, detail.session)

    async def render() -> live.Part:
        context = await _context(view, session_id, shown)
        html = view.fragment("_session.html", {**context, **around})
        return live.Part(html, is_over=context["is_over"])

    channels = [("session", session_id), ("build", detail.session.build_id)]
    return live.stream(view, channels, render)


@router.get("/sessions/{session_id}/steps")
async def session_steps(view: Member, session_id: str, after: Annotated[int, Query(ge=0)] = 0) -> Response:
    """Show one page of a long timeline."""
    detail = await view.services.sessions.get(view.actor, session_id)
    steps = await view.services.sessions.steps(view.actor, session_id, after=after, limit=STEPS)
    context = await _now_of(view, detail, steps, after)
    more = steps[-1].seq if len(steps) == STEPS else None
    around = await _around(view, detail.session)
    return view.page("session_steps.html", **context, **around, after=after, more=more)


@router.get("/sessions/{session_id}/log")
async def session_log(view: Member, session_id: str) -> Response:
    """Send all that a session's code printed, as it printed it."""
    await view.services.sessions.get(view.actor, session_id)

    async def texts() -> AsyncIterator[str]:
        after = 0
        while found := await view.services.sessions.prints(view.actor, session_id, after=after, limit=CHUNK):
            yield "".join(item.text for item in found)
            after = found[-1].seq

    headers = {
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "Cache-Control": "no-store",
        "Content-Disposition": f'inline; filename="{session_id}.log"',
    }
    return StreamingResponse(texts(), media_type="text/plain; charset=utf-8", headers=headers)


@router.post("/sessions/{session_id}/stop")
async def stop(view: Member, session_id: str, kill: Annotated[bool, Form()] = False) -> Response:
    """Ask a session to end, or end it at once."""
    await view.services.sessions.stop(view.actor, session_id, reason="stopped on its page", kill=kill)
    message = "The session is being killed" if kill else "The session has been asked to stop"
    return view.go(view.at.url("sessions", session_id), message=message)


@router.post("/sessions/{session_id}/fork")
async def fork(
    view: Member,
    session_id: str,
    from_step: Annotated[int, Form()],
    build: Annotated[str, Form()] = "same",
) -> Response:
    """Run a session again from one of its steps."""
    made = await view.services.sessions.fork(view.actor, session_id, from_step=from_step, build=build)
    message = f"This session goes on from step {from_step} of the other one"
    return view.go(view.at.url("sessions", made.session.id), message=message)


@router.post("/sessions/{session_id}/again")
async def again(view: Member, session_id: str) -> Response:
    """Run a session again: what a person started with the same inputs, else its event once more."""
    services, actor = view.services, view.actor
    found = (await services.sessions.get(actor, session_id)).session
    if found.event_id is None:
        raise NotFound("this session had no event of its own, so there is nothing to run again")
    event = await services.events.get(actor, found.event_id)
    if found.trigger_id is None:
        made = await services.events.start_session(
            actor, found.project_id, found.entrypoint, event.data, is_durable=found.is_durable
        )
        return view.go(view.at.url("sessions", made.id), message="This is the new session")
    copy = await services.events.redispatch(actor, found.event_id)
    message = "The event was dispatched again; its sessions are listed below"
    return view.go(view.at.url("events", copy.id), message=message)
