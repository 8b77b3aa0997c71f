"""Measure our budgets beside peers in one run: ratios of medians, a table, and JSON as the last line.

`make bench` runs it; `ARGS=--quick` measures less. The machine may be noisy: trust ratios, not seconds.
Each row is `{"row", "ours", "peer", "ratio", "budget", "ok"}`; a new row is a function that returns some.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import hooks
import inside
import ours

HERE = Path(__file__).parent


def peer(name: str, *numbers: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as directory:
        words = [str(numbers[0]), str(numbers[1]), directory, *map(str, numbers[2:])]
        done = subprocess.run(
            [sys.executable, str(HERE / f"peer_{name}.py"), *words],
            check=True,
            capture_output=True,
            text=True,
            timeout=900,
        )
    return json.loads(done.stdout.strip().splitlines()[-1])


def fsync_seconds(directory: Path, times: int = 200) -> float:
    """Return the median time of one fsync of a small write, on the disk of the data directory."""
    taken = []
    with (directory / "fsync").open("wb") as file:
        for _ in range(times):
            file.write(b"x" * 4096)
            file.flush()
            began = time.perf_counter()
            os.fsync(file.fileno())
            taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def row(name: str, ours: float, peer: float, budget: str, ok: bool) -> dict[str, object]:
    return {
        "row": name,
        "ours": round(ours, 4),
        "peer": round(peer, 4),
        "ratio": round(ours / peer, 3),
        "budget": budget,
        "ok": bool(ok),
    }


@dataclass(frozen=True)
class Sizes:
    """How much is measured; peers and we do the same, in turns."""

    rounds: int
    steps: int
    sessions: int
    steps_each: int
    short: int
    starts: int
    hook_seconds: float
    changes: int


FULL = Sizes(
    rounds=3, steps=1000, sessions=50, steps_each=100, short=200, starts=30, hook_seconds=5, changes=50_000
)
QUICK = Sizes(
    rounds=1, steps=200, sessions=20, steps_each=40, short=60, starts=10, hook_seconds=2, changes=10_000
)


class Measured:
    """Numbers by name, one for each round; what is used of them is the median."""

    def __init__(self) -> None:
        self._numbers: dict[str, list[float]] = defaultdict(list)

    def add(self, **numbers: float) -> None:
        for name, number in numbers.items():
            self._numbers[name].append(number)

    def __getitem__(self, name: str) -> float:
        return statistics.median(self._numbers[name])


def one_round(found: Measured, sizes: Sizes) -> None:
    """Measure ours and the peers once."""
    with tempfile.TemporaryDirectory() as directory, ours.server(Path(directory) / "data") as server:
        found.add(ready=server.seconds_to_ready)
        server.deploy(HERE / "project")
        ours.one_session(server, 50)
        for _ in range(sizes.rounds):
            # Both are over in a second, and what else the machine does lasts longer than that.
            found.add(fsync=fsync_seconds(Path(directory)))
            step = ours.one_session(server, sizes.steps)
            found.add(step=step.mean, median_step=step.median)
        found.add(
            rate=ours.many_sessions(server, sizes.sessions, sizes.steps_each),
            first=ours.first_line(server, sizes.starts),
            short=ours.short_sessions(server, sizes.short),
            hooks=hooks.webhook(server, sizes.hook_seconds),
            parked=ours.parked(server, 20),
        )
    found.add(empty=hooks.empty_endpoint(sizes.hook_seconds))
    dbos = peer("dbos", sizes.steps, sizes.sessions, sizes.steps_each)
    temporal = peer("temporal", sizes.steps, sizes.sessions, sizes.steps_each, sizes.short)
    found.add(dbos_step=dbos["step_seconds"], dbos_rate=dbos["steps_per_second"])
    found.add(temporal_step=temporal["step_seconds"], temporal_rate=temporal["steps_per_second"])
    found.add(temporal_short=temporal["short_per_second"])
    changes = _apart("changes.py", str(sizes.changes))
    found.add(changes=changes["rate"], growth=changes["growth_mb"])


def _apart(program: str, *words: str) -> dict[str, float]:
    """Run a program of ours in a process of its own, where its memory is its own."""
    done = subprocess.run(
        [sys.executable, str(HERE / program), *words], check=True, capture_output=True, text=True, timeout=900
    )
    return json.loads(done.stdout.strip().splitlines()[-1])


def rows(found: Measured, sessions: int) -> list[dict[str, object]]:
    """Return the rows of everything that has been measured."""
    step, fsync, median = found["step"] * 1000, found["fsync"] * 1000, found["median_step"] * 1000
    peers = ("dbos", "temporal")
    # Where there is no peer, the budget stands in its place. In flat memory SQLite may still fill its cache.
    return [
        row("step, one session, median (ms) / one fsync", median, fsync, "<= fsync + 0.7 ms",
            median <= fsync + 0.7),
        *(
            _at_most(f"step, one session, mean (ms) / {name}", step, 1000 * found[f"{name}_step"], most)
            for name, most in (("dbos", 0.6), ("temporal", 1.0))
        ),
        *(
            _at_least(f"steps/s, {sessions} sessions / {name}", found["rate"], found[f"{name}_rate"], 10.0)
            for name in peers
        ),
        _at_most("event -> first line of user code, p50 (ms) / budget", found["first"] * 1000, 60.0, 1.0),
        _at_least("short sessions/s / temporal", found["short"], found["temporal_short"], 0.7),
        _at_least("webhooks/s, committed / empty FastAPI endpoint", found["hooks"], found["empty"], 0.5),
        _at_least("Salesforce events/s, decoded and committed / budget", found["changes"], 5000.0, 1.0),
        _at_most("growth of memory over 3/4 of them (MB) / budget", max(0.0, found["growth"]), 48.0, 1.0),
        row("tasks of 20 parked sessions / budget", found["parked"], 1.0, "no process, no thread",
            found["parked"] == 0),
        _at_most("`up` until ready (s) / budget", found["ready"], 5.0, 1.0),
    ]  # fmt: skip


def _at_most(name: str, ours: float, peer: float, times: float) -> dict[str, object]:
    return row(name, ours, peer, f"<= {times:g} x", ours <= times * peer)


def _at_least(name: str, ours: float, peer: float, times: float) -> dict[str, object]:
    return row(name, ours, peer, f">= {times:g} x", ours >= times * peer)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="one round, fewer steps")
    sizes = QUICK if parser.parse_args().quick else FULL
    found = Measured()
    for number in range(sizes.rounds):
        print(f"round {number + 1} of {sizes.rounds}", file=sys.stderr, flush=True)
        one_round(found, sizes)
    made = rows(found, sizes.sessions) + inside.rows(rounds=sizes.rounds)
    widths = [max(len(str(r[key])) for r in [*made, {k: k for k in made[0]}]) for key in made[0]]
    for line in [{key: key for key in made[0]}, *made]:
        print("  ".join(str(value).ljust(width) for value, width in zip(line.values(), widths, strict=True)))
    print(json.dumps(made))


if __name__ == "__main__":
    main()
