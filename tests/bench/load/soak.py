"""Whether memory stays flat: minutes of mixed load on one service, its resident memory after each.

`make bench-load SOAK_MINUTES=30` runs this alone. Ids, servers and tokens' projects are new all the time, so
that whatever is kept for each of them would show. The slope is that of the second half: caches fill first.
"""

import statistics
import time
from typing import Any

from installation import Installation, call, memory_mib

SECONDS = 60


def soak(installation: Installation, minutes: int, processes: int, threads: int) -> dict[str, Any]:
    """Runs it; gives memory by the minute, and how it grows."""
    pid = installation.pid("csbs")
    memory, calls = [memory_mib(pid)], 0
    begun = time.monotonic()
    for minute in range(minutes):
        done = call(
            {
                "kind": "mixed",
                "endpoint": installation.endpoints["csbs"],
                "token": installation.token(),
                "service_token": installation.token("ims"),
                "run": f"soak-{minute}",
                "seconds": SECONDS,
                "first": minute * 30_000,
            },
            processes,
            threads,
        )
        calls += done["calls"]
        memory.append(memory_mib(pid))
        print(f"minute {minute + 1}: {memory[-1]:.1f} MiB, {done['calls']} rounds of calls", flush=True)
    return {
        "minutes": round((time.monotonic() - begun) / 60, 1),
        "rounds_of_calls": calls,
        "memory_mib": [round(each, 1) for each in memory],
        "slope_mib_an_hour": round(slope(memory[len(memory) // 2 :]) * 60, 1),
    }


def slope(values: list[float]) -> float:
    """By how much they grow from one to the next, by least squares."""
    if len(values) < 2:
        return 0.0
    return statistics.linear_regression(range(len(values)), values).slope
