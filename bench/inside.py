"""What rewriting and replaying cost inside a session process; no server, the journal is in memory."""

import statistics
import tempfile
from pathlib import Path

from ninelives_server.testing.session_harness import Harness, Journal, Program

_CALLS = """
import timeit

def function(x):
    return x

class Class:
    def method(self, x):
        return x

def calls(event):
    one, word, count, found = Class(), "x", 100_000, {}
    def functions():
        for i in range(count):
            function(i)
    def methods():
        for i in range(count):
            one.method(i)
    def builtins():
        for i in range(count):
            word.upper()
    for loop in (functions, methods, builtins):
        found[loop.__name__] = min(timeit.repeat(loop, number=1, repeat=9)) / count
    return found
"""
_STEPS = """
import ninelives

@ninelives.step
def noop(i):
    return i

def steps(event):
    # What `eval` runs is not rewritten: this clock is a real one.
    began = eval("__import__('time').perf_counter()")
    for i in range(event.data.n):
        noop(i)
    seconds = eval("__import__('time').perf_counter()") - began
    return seconds if event.data.told else None
"""
#: A direct call in rewritten code may take this much longer than in plain Python. seconds
_CALL_BUDGET = 0.2e-6
_REPLAY_BUDGET = 20_000


def rows(*, rounds: int = 3, count: int = 5000) -> list[dict[str, object]]:
    """Measure the price of a direct call, and how fast a journal is replayed."""
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "main.py").write_text(_CALLS)
        (Path(directory) / "replay.py").write_text(_STEPS)
        harness = Harness()
        try:
            plain, ours = (_calls(harness, Path(directory), rounds, is_durable=d) for d in (False, True))
            rate = statistics.median(_replay(harness, Path(directory), count) for _ in range(rounds))
        finally:
            harness.close()
    found = [
        _row(f"direct call, {kind} (ns)", ours[kind] * 1e9, plain[kind] * 1e9, "<= plain + 200 ns",
             ok=ours[kind] - plain[kind] <= _CALL_BUDGET)
        for kind in plain
    ]  # fmt: skip
    found.append(_row("replay (steps/s) / budget", rate, _REPLAY_BUDGET, ">= 1 x", ok=rate >= _REPLAY_BUDGET))
    return found


def _calls(harness: Harness, directory: Path, rounds: int, *, is_durable: bool) -> dict[str, float]:
    program = Program(directory, entrypoint="main.py:calls", is_durable=is_durable)
    results = [harness.run(program).result for _ in range(rounds)]
    return {kind: min(result[kind] for result in results) for kind in results[0]}


def _replay(harness: Harness, directory: Path, count: int) -> float:
    program = Program(directory, entrypoint="replay.py:steps", data={"n": count, "told": True})
    journal = Journal()
    harness.run(program, journal)
    seconds: float = harness.run(program, journal).result
    return count / seconds


def _row(name: str, ours: float, peer: float, budget: str, *, ok: bool) -> dict[str, object]:
    return {
        "row": name, "ours": round(ours, 4), "peer": round(peer, 4), "ratio": round(ours / peer, 3),
        "budget": budget, "ok": bool(ok),
    }  # fmt: skip


if __name__ == "__main__":
    for line in rows():
        print(line)
