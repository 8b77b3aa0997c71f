"""Kill everything at random while sessions of all kinds run; then look whether anything was lost or done twice.

`make chaos` runs it for 10 minutes with 300 sessions; `ARGS="--minutes 2 --sessions 60 --seed 7"` otherwise.
It prints a table; its last line is JSON; it exits 1 where something is not as it must be.

Columns of the table: `restarts`, how often a process of these sessions had to be started again (parked sessions
included); `again`, how many steps were in flight when something died and were executed again.
"""

import argparse
import json
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1])]

import crowd
import ledger as ledgers
import theatre as stages
import verdict as verdicts

from ninelives_server.testing import running

#: How often each of them dies, in relation to the others.
VICTIMS = {"session": 8, "worker": 3, "second": 3, "server": 2, "temporal": 2, "postgresql": 2}
#: How much of the time there are kills, and new sessions; the rest is for the last to end.
KILLING, STARTING = 0.85, 0.7
#: When nobody is killed any more and no session has ended or parked for so long, none will. seconds
STILL = 150.0

Say = Callable[[str], None]


class Run:
    """One chaos run."""

    def __init__(self, stage: stages.Stage, ledger: ledgers.Ledger, *, seconds: float, seed: int) -> None:
        self.stage = stage
        self.ledger = ledger
        self.seconds = seconds
        self.chance = random.Random(seed)
        self.kills: Counter[str] = Counter()
        self.in_flight = 0
        self.began = time.monotonic()
        # A quarter of the time, at most as long as sessions need to be parked.
        self.starter = crowd.Starter(stage, ledger, pause=min(8.0, seconds / 12))
        self._failure: BaseException | None = None

    def play(self, sessions: int, say: Say) -> verdicts.Verdict:
        """Start sessions and kill; wait for the last to end; judge."""
        names = crowd.names(sessions, self.chance)
        self._set_up()
        self.began = time.monotonic()
        starting = threading.Thread(target=self._start_all, args=(names,), daemon=True)
        starting.start()
        self._kill_all(say)
        starting.join(crowd.PATIENCE)
        if self._failure is not None:
            raise self._failure
        say("no more kills; the last sessions end")
        self._settle(say)
        return verdicts.judge(self.stage, self.starter.crowd, self.ledger)

    def _set_up(self) -> None:
        body = {"entrypoint": "main.py:setup", "inputs": {"url": self.ledger.url}, "is_durable": True}
        session = self.stage.up.call("POST", "/projects/chaos/sessions", json=body)["id"]
        ended = self.stage.up.ended(session, 300)
        if ended["state"] != "completed":
            raise RuntimeError(f"the set-up ended in {ended['state']}: {ended['error']}")
        # The first event gives the stream a position; one that has none yet cannot be resumed, which is a gap
        # that the product shows, and no loss.
        self.starter.start("lead-first", "lead")
        running.until("the first Lead's session", self._has_lead)

    def _has_lead(self) -> bool:
        return any(session["entrypoint"] == "main.py:lead" for session in crowd.found(self.stage))

    def _start_all(self, names: list[tuple[str, str]]) -> None:
        try:
            for number, (name, kind) in enumerate(names):
                due = self.began + self.seconds * STARTING * number / len(names)
                time.sleep(max(0.0, due - time.monotonic()))
                self.starter.start(name, kind)
        except BaseException as error:
            self._failure = error

    def _kill_all(self, say: Say) -> None:
        end = self.began + self.seconds * KILLING
        every = max(2.0, self.seconds / 60)
        # Each of them dies at least once, however short the run is.
        first = list(VICTIMS)
        self.chance.shuffle(first)
        while time.monotonic() < end:
            time.sleep(min(self.chance.expovariate(1 / every), 3 * every))
            victim = first.pop() if first else self.chance.choices(list(VICTIMS), VICTIMS.values())[0]
            inside = self.ledger.inside
            is_killed = self._kill(victim)
            if not is_killed and not self.kills[victim]:
                first.append(victim)  # none was there: soon there will be one
            if is_killed:
                self.kills[victim] += 1
                self.in_flight += inside
                say(f"{time.monotonic() - self.began:5.0f} s  killed: {victim} ({inside} steps in flight)")
            if not self.stage.second.is_running():
                raise RuntimeError("the second worker has ended by itself")

    def _kill(self, victim: str) -> bool:
        if victim == "session":
            return self.stage.kill_session(self.chance.random())
        getattr(self.stage, f"kill_{victim}")()
        return True

    def _settle(self, say: Say) -> None:
        """Wait until as many sessions as there must be have ended, or until nothing moves any more."""
        before, since = Counter[str](), time.monotonic()
        while not verdicts.is_over(self.stage, self.starter.crowd) and time.monotonic() - since < STILL:
            states = Counter(session["state"] for session in crowd.found(self.stage))
            if states != before:
                before, since = states, time.monotonic()
                said = ", ".join(f"{state} {count}" for state, count in sorted(states.items()))
                say(f"{time.monotonic() - self.began:5.0f} s  {said}")
            time.sleep(2)


def main() -> int:
    """Play once and print the report; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument(
        "--sessions", type=int, default=300, help="beside the children that some of them start"
    )
    parser.add_argument("--seed", type=int, help="of what is killed when; printed where not given")
    parser.add_argument("--keep", type=Path, help="use this directory and keep the logs in it")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # stop what was started
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10**6)
    say = lambda text: print(text, file=sys.stderr, flush=True)  # noqa: E731
    say(f"seed {seed}; starting a fake org, PostgreSQL, Temporal, the server and two workers")
    with tempfile.TemporaryDirectory(prefix="ninelives-chaos-") as temporary, ledgers.running() as ledger:
        directory = options.keep or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        with stages.playing(directory) as stage:
            run = Run(stage, ledger, seconds=options.minutes * 60, seed=seed)
            verdict = run.play(options.sessions, say)
    print(verdicts.table(verdict))
    print("kills: " + ", ".join(f"{victim} {count}" for victim, count in sorted(run.kills.items())))
    print(f"requests sent again because nobody answered: {run.starter.crowd.asked}")
    for line in verdict.wrong:
        print(f"WRONG: {line}")
    print(
        json.dumps(
            {"seed": seed, "kills": dict(run.kills), "in_flight": run.in_flight, "wrong": verdict.wrong}
        )
    )
    return 1 if verdict.wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
