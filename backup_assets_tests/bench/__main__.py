"""Measure everything side by side in one run and print (or write) the table: `make bench`."""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path

from backup_assets_tests.bench import (
    bench_attachments,
    bench_chain,
    bench_definitions,
    bench_listing,
    bench_retention,
    databases,
)
from backup_assets_tests.bench.chain import missing_programs

#: step, what it is compared with, and the goal for the ratio.
RATIOS = (
    ("whole set, no content hashes", "pg_dump -Fc --compress=zstd:1", "at most 1.25"),
    ("whole set, content hashes", "pg_dump -Fc --compress=zstd:1", ""),
    ("whole set with jobs 2, no content hashes", "pg_dump -Fd -j2 --compress=zstd:1", "at most 1.25"),
    ("pg_dump -Fc (gzip, the default)", "whole set, no content hashes", "at least 3"),
    ("verification", "pg_restore -j2", "at most 1.5"),
    ("verification with content", "pg_restore -j2", ""),
)
PARTS = ("databases", "attachments", "chain", "retention", "listing", "definitions")


def table(results: dict[str, list[float]], compared: tuple[tuple[str, str, str], ...]) -> list[str]:
    """Return the figures as Markdown."""
    lines = ["", "| step | seconds (median) | all rounds |", "|---|---:|---|"]
    for name, values in results.items():
        lines.append(f"| {name} | {statistics.median(values):.2f} | {_listed(values)} |")
    if not compared:
        return lines
    lines += ["", "| compared | ratio (median) | all rounds | goal |", "|---|---:|---|---|"]
    for step, against, goal in compared:
        # Round by round, so that what else the machine did in a round weighs on both sides of its ratio.
        ratios = [ours / theirs for ours, theirs in zip(results[step], results[against], strict=True)]
        lines.append(f"| {step} / {against} | {statistics.median(ratios):.2f} | {_listed(ratios)} | {goal} |")
    return lines


def _listed(values: list[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)


def main() -> int:
    """Run the benchmarks; see --help."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--home", type=Path, default=Path("var/bench"), help="where the sample databases are kept")
    parser.add_argument("--size", default="large", help="small, medium or large (about 2 GB)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--attachments", type=float, default=1.0, help="scale; 1 is 20,000 files and 2 GB; 0 for none")
    parser.add_argument("--only", choices=PARTS, help="measure this part alone; `chain` needs the programs aws and gpg")
    parser.add_argument("--output", type=Path, help="write the tables to this Markdown file")
    arguments = parser.parse_args()
    parts = (arguments.only,) if arguments.only else PARTS
    home = arguments.home / arguments.size
    lines: list[str] = []
    missing = missing_programs() if "chain" in parts else []
    if missing and arguments.only:
        parser.error(f"not installed: {', '.join(missing)}")
    if "databases" in parts:
        lines += table(databases.measure(home, arguments.size, arguments.rounds, _say), RATIOS)
    if "chain" in parts and missing:
        lines += ["", f"The whole chain was not measured: {', '.join(missing)} not installed."]
    elif "chain" in parts:
        lines += table(bench_chain.measure(home, arguments.size, arguments.rounds, _say), bench_chain.RATIOS)
    if "attachments" in parts and arguments.attachments:
        figures = bench_attachments.run(arguments.attachments)
        lines += ["", "| attachments | figure |", "|---|---:|", *(f"| {k} | {v:g} |" for k, v in figures.items())]
    if "retention" in parts:
        lines += table(bench_retention.measure(arguments.rounds, _say), bench_retention.RATIOS)
    if "listing" in parts:
        lines += table(bench_listing.measure(arguments.rounds, _say), bench_listing.RATIOS)
    if "definitions" in parts:
        lines += table(bench_definitions.measure(arguments.home / "definitions", arguments.rounds, _say), ())
    lines += ["", f'Measured on {databases.machine()}, `make bench ARGS="{" ".join(sys.argv[1:])}"`.']
    text = "\n".join(lines[1:]) + "\n"
    print(text)
    if arguments.output:
        arguments.output.write_text(text, encoding="utf-8")
    return 0


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
