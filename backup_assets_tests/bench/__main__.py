"""Measure everything side by side in one run and print (or write) the table: `make bench`."""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path

from backup_assets_tests.bench import bench_attachments, databases

#: step, what it is compared with, and the goal for the ratio.
RATIOS = (
    ("whole set, no content hashes", "pg_dump -Fc --compress=zstd:1", "at most 1.25"),
    ("whole set, content hashes", "pg_dump -Fc --compress=zstd:1", ""),
    ("whole set with jobs 2, no content hashes", "pg_dump -Fd -j2 --compress=zstd:1", "at most 1.25"),
    ("pg_dump -Fc (gzip, the default)", "whole set, no content hashes", "at least 3"),
    ("verification", "pg_restore -j2", "at most 1.5"),
    ("verification with content", "pg_restore -j2", ""),
)


def table(results: dict[str, list[float]]) -> list[str]:
    """Return the figures as Markdown."""
    lines = ["| step | seconds (median) | all rounds |", "|---|---:|---|"]
    for name, values in results.items():
        shown = ", ".join(f"{value:.2f}" for value in values)
        lines.append(f"| {name} | {statistics.median(values):.2f} | {shown} |")
    lines += ["", "| compared | ratio | goal |", "|---|---:|---|"]
    for step, against, goal in RATIOS:
        # Round by round, so that what else the machine did in a round weighs on both sides of its ratio.
        ratios = [ours / theirs for ours, theirs in zip(results[step], results[against], strict=True)]
        lines.append(f"| {step} / {against} | {statistics.median(ratios):.2f} | {goal} |")
    return lines


def main() -> int:
    """Run the benchmarks; see --help."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--home", type=Path, default=Path("var/bench"), help="where the sample databases are kept")
    parser.add_argument("--size", default="large", help="small, medium or large (about 2 GB)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--attachments", type=float, default=1.0, help="scale; 1 is 20,000 files and 2 GB; 0 for none")
    parser.add_argument("--output", type=Path, help="write the tables to this Markdown file")
    arguments = parser.parse_args()
    results = databases.measure(
        arguments.home / arguments.size, arguments.size, arguments.rounds, lambda line: print(line, flush=True)
    )
    lines = table(results)
    if arguments.attachments:
        figures = bench_attachments.run(arguments.attachments)
        lines += ["", "| attachments | figure |", "|---|---:|", *(f"| {k} | {v:g} |" for k, v in figures.items())]
    lines += ["", f'Measured on {databases.machine()}, `make bench ARGS="{" ".join(sys.argv[1:])}"`.']
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.output:
        arguments.output.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
