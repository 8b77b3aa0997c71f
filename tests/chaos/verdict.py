"""What must hold at the end, and the report's table."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import crowd
from ledger import Ledger
from theatre import Stage

from ninelives_server.testing import running

CHILD_STEPS = 3


class Verdict:
    """What was found, line by line; `wrong` is empty where all is as it must be."""

    def __init__(self) -> None:
        self.wrong: list[str] = []
        self.rows: dict[str, Counter[str]] = {}

    def count(self, kind: str, **numbers: int) -> None:
        """Add to a kind's row."""
        self.rows.setdefault(kind, Counter()).update(numbers)


def everyone(stage: Stage) -> dict[str, list[dict[str, Any]]]:
    """Return the sessions by the name with which their prints begin."""
    by_name: dict[str, list[dict[str, Any]]] = {}
    for session in crowd.found(stage):
        if session["entrypoint"].endswith((":setup", ":totals")):
            continue
        prints = "".join(p["text"] for p in stage.up.call("GET", f"/sessions/{session['id']}/logs")["items"])
        by_name.setdefault(prints.partition(" begins")[0], []).append({**session, "prints": prints})
    return by_name


def is_over(stage: Stage, started: crowd.Crowd) -> bool:
    """Tell whether as many sessions as there must be have ended."""
    states = Counter(session["state"] for session in crowd.found(stage))
    children = 2 * sum(kind == "children" for kind in started.kinds.values())
    return sum(states[s] for s in running.TERMINAL) >= len(started.kinds) + children + 1


def judge(stage: Stage, started: crowd.Crowd, ledger: Ledger) -> Verdict:
    """Compare what is there with what must be."""
    verdict = Verdict()
    there = everyone(stage)
    expected = dict(started.kinds)
    for name, kind in started.kinds.items():
        if kind == "children":
            expected.update({f"{name}-child{k}": "child" for k in range(2)})
    for name in sorted(there.keys() - expected.keys()):
        verdict.wrong.append(f"nobody started {name!r}: {[s['id'] for s in there[name]]}")
    for name, kind in expected.items():
        _judge_one(verdict, stage, there.get(name, []), ledger, name, kind)
    _judge_store(verdict, stage, len(expected))
    return verdict


def _judge_one(
    verdict: Verdict, stage: Stage, sessions: list[dict[str, Any]], ledger: Ledger, name: str, kind: str
) -> None:
    verdict.count(kind, expected=1, sessions=len(sessions))
    if len(sessions) != 1:
        lost = "it was lost" if not sessions else "it was doubled"
        verdict.wrong.append(f"{name} has {len(sessions)} sessions: {lost}; {[s['id'] for s in sessions]}")
        return
    session = stage.up.call("GET", f"/sessions/{sessions[0]['id']}")
    verdict.count(kind, **{session["state"]: 1}, restarts=max(0, session["epoch"] - 1))
    if session["state"] != "completed":
        verdict.wrong.append(f"{name} ({session['id']}) is {session['state']}: {session['error']}")
        return
    steps = CHILD_STEPS if kind == "child" else crowd.KINDS[kind][1]
    said = f"{name} begins\n{name} ends with {steps}\n"
    if sessions[0]["prints"] != said:
        verdict.wrong.append(f"{name} ({session['id']}) printed {sessions[0]['prints']!r}, not {said!r}")
    if (heard := session["result"].get("heard", [0, 1, 2])) != [0, 1, 2]:
        verdict.wrong.append(f"{name} ({session['id']}) heard {heard}, not each of three events once")
    _judge_steps(verdict, session["result"]["answers"], ledger, name, kind, steps)


def _judge_steps(
    verdict: Verdict, answers: Mapping[str, int], ledger: Ledger, name: str, kind: str, steps: int
) -> None:
    """A request after the one whose answer the session went on with is a completed step executed again."""
    verdict.count(kind, steps=steps)
    if sorted(answers, key=int) != [str(k) for k in range(steps)]:
        verdict.wrong.append(f"{name} has the answers {sorted(answers)}, not {steps}")
        return
    for index, number in answers.items():
        arrivals = ledger.arrivals[f"{name}/{index}"]
        verdict.count(kind, again=len(arrivals) - 1)
        if number not in arrivals:
            verdict.wrong.append(f"{name}/{index} went on with {number}, which the ledger never said")
        elif late := [a for a in arrivals if a > number]:
            verdict.wrong.append(f"{name}/{index} was completed with {number} and executed again: {late}")


def _judge_store(verdict: Verdict, stage: Stage, sessions: int) -> None:
    """Each session has added one at its begin and one at its end."""
    body = {"entrypoint": "main.py:totals", "inputs": {}, "is_durable": True}
    session = stage.up.call("POST", "/projects/chaos/sessions", json=body)["id"]
    totals = stage.up.ended(session)["result"]
    if totals != {"begun": sessions, "ended": sessions}:
        verdict.wrong.append(f"the store counted {totals}, not {sessions} of each")


def table(verdict: Verdict) -> str:
    """Return the report: one line a kind, and the sum."""
    columns = ["expected", "sessions", "completed", "error", "stopped", "restarts", "steps", "again"]
    total: Counter[str] = sum(verdict.rows.values(), Counter())
    lines = [["kind", *columns]]
    for kind, row in [*sorted(verdict.rows.items()), ("all", total)]:
        lines.append([kind, *(str(row[column]) for column in columns)])
    widths = [max(len(line[k]) for line in lines) for k in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines
    )
