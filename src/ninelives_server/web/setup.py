"""What is still to do until a project runs by itself: the checklist of its overview. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ninelives_server.events.status import TriggerStatus
from ninelives_server.ids import TriggerId
from ninelives_server.model.connections import Connection, ConnectionState
from ninelives_server.model.projects import Deployment, DeploymentState, Variable
from ninelives_server.model.sessions import Session
from ninelives_server.model.triggers import Trigger, TriggerType


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One line of the checklist.

    Attributes:
        section: Which page of the project does it; the segments of its path below the project.
        hint: What to do, or what stands in the way.
    """

    title: str
    is_done: bool
    hint: str
    section: str


def _connections(connections: Sequence[Connection], *, is_deployed: bool) -> Step | None:
    title = "Authorise the connections"
    open_ones = [c for c in connections if c.state not in {ConnectionState.OK, ConnectionState.DEGRADED}]
    if open_ones:
        names = ", ".join(c.name for c in open_ones)
        return Step(
            title="Authorise the connections", is_done=False, hint=f"to do: {names}", section="connections"
        )
    if is_deployed and not connections:
        return None
    hint = f"{len(connections)} authorised" if connections else "add one where the code needs an account"
    return Step(title=title, is_done=bool(connections), hint=hint, section="connections")


def _code(deployments: Sequence[Deployment]) -> Step:
    is_active = any(d.state is DeploymentState.ACTIVE for d in deployments)
    hint = "a deployment is active" if is_active else "run `ninelives deploy DIR` in the project's directory"
    return Step(title="Deploy code", is_done=is_active, hint=hint, section="deployments")


def _variables(variables: Sequence[Variable]) -> Step | None:
    empty = [v.name for v in variables if not v.is_set]
    if not variables:
        return None
    hint = f"without a value: {', '.join(empty)}" if empty else f"{len(variables)} set"
    return Step(title="Set the variables", is_done=not empty, hint=hint, section="variables")


def _triggers(
    triggers: Sequence[Trigger], statuses: Mapping[TriggerId, TriggerStatus], *, is_deployed: bool
) -> Step | None:
    title = "Let events start sessions"
    deaf = [
        (trigger.name, listening.reason or listening.state)
        for trigger in triggers
        if trigger.type is TriggerType.CONNECTION
        and (listening := statuses[trigger.id].listening) is not None
        and listening.state != "listening"
    ]
    if deaf:
        name, reason = deaf[0]
        return Step(title=title, is_done=False, hint=f"{name}: {reason}", section="triggers")
    if is_deployed and not triggers:
        return None
    hint = f"{len(triggers)} triggers" if len(triggers) != 1 else "1 trigger"
    return Step(
        title=title,
        is_done=bool(triggers),
        hint=hint if triggers else "triggers come with the manifest: `ninelives deploy DIR`",
        section="triggers",
    )


def steps(
    connections: Sequence[Connection],
    triggers: Sequence[Trigger],
    statuses: Mapping[TriggerId, TriggerStatus],
    deployments: Sequence[Deployment],
    variables: Sequence[Variable],
    sessions: Sequence[Session],
) -> list[Step]:
    """Return the checklist of a project, in the order in which things are usually done.

    What the deployed code has no use for is left out.
    """
    code = _code(deployments)
    first = Step(
        title="See a session",
        is_done=bool(sessions),
        hint="sessions have run" if sessions else "press Run…, or let an event happen",
        section="sessions",
    )
    found = (
        code,
        _connections(connections, is_deployed=code.is_done),
        _variables(variables),
        _triggers(triggers, statuses, is_deployed=code.is_done),
        first,
    )
    return [step for step in found if step is not None]
