"""Whether memory stays flat: minutes of mixed load on one service, its resident memory after each.

`make bench-load SOAK_MINUTES=30` runs this alone. Ids, servers and tokens' projects are new all the time, so
that memory for each of them would be seen. Memory goes up and down by a third as the allocator gives back; a
leak raises the peaks, so they are reported by quarters: caches fill in the first.
"""

import time
from typing import Any

from tests.bench.load.installation import Installation, memory_mib, mix

SECONDS = 60


def soak(installation: Installation, minutes: int, processes: int, threads: int) -> dict[str, Any]:
    """Runs it; gives memory by the minute, and its peaks."""
    pid = installation.pid("csbs")
    memory, rounds = [memory_mib(pid)], 0
    begun = time.monotonic()
    for minute in range(minutes):
        done = mix(
            {
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
        rounds += done
        memory.append(memory_mib(pid))
        print(f"minute {minute + 1}: {memory[-1]:.1f} MiB, {done} rounds of calls", flush=True)
    return {
        "minutes": round((time.monotonic() - begun) / 60, 1),
        "rounds_of_calls": rounds,
        "memory_mib": [round(each, 1) for each in memory],
        "peaks_mib": [round(max(quarter), 1) for quarter in quarters(memory)],
    }


def quarters(values: list[float]) -> list[list[float]]:
    """The values in four parts, one after the other, of those that are not empty."""
    parts = [values[len(values) * n // 4 : len(values) * (n + 1) // 4] for n in range(4)]
    return [part for part in parts if part]
