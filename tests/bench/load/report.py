"""The report as tables for people."""

from typing import Any

ENGINES = ("sqlite", "postgresql")
_ROW = "{:<11} {:<14} {:>9} {:>8} {:>8} {:>9} {:>9} {:>8} {:>8} {:>9} {:>7}"


def print_report(report: dict[str, Any]) -> None:
    """One table of rates, one of pages."""
    machine = report["machine"]
    print(f"{report['clients']} clients, medians of {report['rounds']} rounds, Python {machine['python']}")
    print(f"{machine['cores']} cores, load {machine['load_before']:.1f} to {machine['load_after']:.1f}")
    head = (
        "engine",
        "call",
        "limit/s",
        "p50 ms",
        "p99 ms",
        "cpu µs",
        "calls/s",
        "p50 ms",
        "p99 ms",
        "cpu µs",
    )
    print(_ROW.format(*head, "share"))
    for engine in ENGINES:
        for name in (
            "get",
            "list",
            "lock",
            "empty_lock",
            "create_backup",
            "create_servers",
        ):
            found = report.get(engine, {}).get(name)
            if found:
                sides = [_cells(found[side]) for side in ("limit", "service")]
                print(_ROW.format(engine, name, *sides[0], *sides[1], f"{found['share_of_limit']:.0%}"))
    for engine in ENGINES:
        if "pages" in report.get(engine, {}):
            _print_pages(engine, report[engine])
        if "soak" in report.get(engine, {}):
            soak = report[engine]["soak"]
            print(f"{engine}: {soak['minutes']} minutes, memory {soak['memory_mib']} MiB")
            print(f"peaks of the four quarters: {soak['peaks_mib']} MiB")


def _cells(side: dict[str, float]) -> tuple[str, ...]:
    cpu = f"{side['cpu_us']:.0f}" if side["cpu_us"] else "-"
    return f"{side['rate']:.0f}", f"{side['p50_ms']:.2f}", f"{side['p99_ms']:.2f}", cpu


def _print_pages(engine: str, found: dict[str, Any]) -> None:
    row = "{:<44} {:<17} {:>9} {:>9} {:>9}"
    print(f"\n{engine}: milliseconds of a page of {found['backups']:,} backups")
    print(row.format("filter", "order", "first", "middle", "last"))
    for each in found["pages"]:
        shown = [f"{each['milliseconds'].get(name, 0):.1f}" for name in ("first", "middle", "last")]
        print(row.format(each["filter"], each["order_by"], *shown))
