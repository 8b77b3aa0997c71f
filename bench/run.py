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
from pathlib import Path

import ours

HERE = Path(__file__).parent


def peer(name: str, steps: int, sessions: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as directory:
        done = subprocess.run(
            [sys.executable, str(HERE / f"peer_{name}.py"), str(steps), str(sessions), directory],
            check=True,
            capture_output=True,
            text=True,
            timeout=500,
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


def steps(*, rounds: int, count: int, sessions: int) -> list[dict[str, object]]:
    """Measure a step of one session, and steps a second of many; ours and the peers take turns."""
    one: list[float] = []
    many: list[float] = []
    syncs: list[float] = []
    peers: dict[str, list[dict[str, float]]] = {"dbos": [], "temporal": []}
    with tempfile.TemporaryDirectory() as directory:
        data_dir = Path(directory) / "data"
        for _ in range(rounds):
            with ours.server(data_dir) as server:
                server.deploy(HERE / "project")
                ours.one_session(server, 50)
                one.append(ours.one_session(server, count))
                many.append(ours.many_sessions(server, sessions, max(1, count // 10)))
            syncs.append(fsync_seconds(Path(directory)))
            for name, found in peers.items():
                found.append(peer(name, count, sessions))
    middle = statistics.median
    step_ms, sync_ms = middle(one) * 1000, middle(syncs) * 1000
    of = {n: {k: middle(f[k] for f in found) for k in found[0]} for n, found in peers.items()}
    rate = middle(many)
    rows = [
        row(
            "step, one session (ms) / one fsync",
            step_ms,
            sync_ms,
            "<= fsync + 0.7 ms",
            step_ms <= sync_ms + 0.7,
        )
    ]
    for name, budget, least in (("dbos", "<= 0.6 x", 0.6), ("temporal", "<= 1 x", 1.0)):
        theirs = of[name]["step_seconds"] * 1000
        rows.append(
            row(f"step, one session (ms) / {name}", step_ms, theirs, budget, step_ms <= least * theirs)
        )
    for name in peers:
        theirs = of[name]["steps_per_second"]
        rows.append(
            row(f"steps/s, {sessions} sessions / {name}", rate, theirs, ">= 10 x", rate >= 10 * theirs)
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="one round, fewer steps")
    options = parser.parse_args()
    sizes = (
        {"rounds": 1, "count": 200, "sessions": 20}
        if options.quick
        else {"rounds": 3, "count": 1000, "sessions": 50}
    )
    rows = steps(**sizes)
    widths = [max(len(str(r[key])) for r in [*rows, {k: k for k in rows[0]}]) for key in rows[0]]
    for line in [{key: key for key in rows[0]}, *rows]:
        print("  ".join(str(value).ljust(width) for value, width in zip(line.values(), widths, strict=True)))
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
