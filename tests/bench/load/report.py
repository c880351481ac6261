"""The report as tables for people."""

from typing import Any

ENGINES = ("sqlite", "postgresql")
_ROW = "{:<11} {:<15} {:<8} {:>9} {:>9} {:>8} {:>8} {:>9}"


def print_report(report: dict[str, Any]) -> None:
    """One table of rates, one of pages."""
    machine = report["machine"]
    print(f"{report['clients']} clients, medians of {report['rounds']} rounds, Python {machine['python']}")
    print(f"{machine['cores']} cores, load {machine['load_before']:.1f} to {machine['load_after']:.1f}")
    print(_ROW.format("engine", "call", "checkout", "aim/s", "calls/s", "p50 ms", "p99 ms", "cpu µs"))
    for engine in ENGINES:
        for name, sides in report.get(engine, {}).get("calls", {}).items():
            for side, found in sides.items():
                aim = report["aims"][name]
                cells = f"{found['p50_ms']:.2f}", f"{found['p99_ms']:.2f}", f"{found['cpu_us']:.0f}"
                print(_ROW.format(engine, name, side, aim, f"{found['rate']:.0f}", *cells))
    for engine in ENGINES:
        if "pages" in report.get(engine, {}):
            _print_pages(engine, report[engine]["pages"], report["backups"])
        if "soak" in report.get(engine, {}):
            soak = report[engine]["soak"]
            print(f"{engine}: {soak['minutes']} minutes, memory {soak['memory_mib']} MiB")
            print(f"peaks of the four quarters: {soak['peaks_mib']} MiB")


def _print_pages(engine: str, pages: list[dict[str, Any]], backups: int) -> None:
    row = "{:<44} {:<17} {:>9} {:>9} {:>9}"
    print(f"\n{engine}: milliseconds of a page of {backups:,} backups")
    print(row.format("filter", "order", "first", "middle", "last"))
    for each in pages:
        medians = [f"{each['milliseconds'].get(name, 0):.1f}" for name in ("first", "middle", "last")]
        print(row.format(each["filter"], each["order_by"], *medians))
