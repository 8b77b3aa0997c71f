"""The peer DBOS on SQLite, as its documentation shows it.

`python peer_dbos.py STEPS SESSIONS DIR STEPS_EACH` prints `{"step_seconds": …, "steps_per_second": …}`.
"""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dbos import DBOS


def measure(steps: int, sessions: int, directory: Path, per: int) -> dict[str, float]:
    DBOS(
        config={
            "name": "bench",
            "system_database_url": f"sqlite:///{directory}/dbos.sqlite",
            "run_admin_server": False,
            "log_level": "ERROR",
        }
    )

    @DBOS.step()
    def noop(i: int) -> int:
        return i

    @DBOS.workflow()
    def work(n: int) -> float:
        began = time.perf_counter()
        for i in range(n):
            noop(i)
        return (time.perf_counter() - began) / n

    DBOS.launch()
    work(20)
    one = work(steps)
    began = time.perf_counter()
    with ThreadPoolExecutor(sessions) as pool:
        list(pool.map(lambda _: work(per), range(sessions)))
    rate = sessions * per / (time.perf_counter() - began)
    DBOS.destroy()
    return {"step_seconds": one, "steps_per_second": rate}


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))))
