"""sessionlog, the bare loops that nothing could beat, and its peers, measured in turn.

    python -m benchmarks                     everything; about twenty minutes, an hour at most
    python -m benchmarks --quick             smaller logs, fewer rounds; some three minutes, rough
    python -m benchmarks --only append-os    some questions
    python -m benchmarks --publish           and write the tables and the chart into the documentation

The peers come with the extra ``bench``; what is not installed is left out, and said so. Only the ratios travel to other
machines; take them on a quiet one. A case begins no further round after 90 seconds. This reports and never fails: it is
no test. See docs/performance.md.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import anyio
import msgspec

from . import chart, peers, plan, questions, report
from .harness import Bench, CaseResult, Question, answer, progress
from .publish import publish
from .results import Results, describe_machine, today
from .work import Workshop


def main() -> None:
    """Measure, print, and write what is asked for."""
    skipped: dict[str, str] = {}
    found = questions.load(skipped)
    options = parse(found)
    if options.results is not None:
        results = msgspec.json.decode(options.results.read_bytes(), type=Results)
    else:
        chosen = [question for question in found if options.only is None or question.name in options.only]
        size = plan.TINY if options.tiny else plan.QUICK if options.quick else plan.FULL
        with tempfile.TemporaryDirectory(prefix="sessionlog-bench-", dir=options.dir or Path.cwd()) as folder:
            results = anyio.run(run, chosen, size, Path(folder), skipped)
    report.print_results(results)
    if options.json is not None:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(results)) + b"\n")
    if options.svg is not None:
        options.svg.write_text(chart.svg(results), encoding="utf-8")
    if options.publish:
        publish(results)


def parse(found: Sequence[Question]) -> argparse.Namespace:
    """Parse the command line."""
    summary, _, _ = (__doc__ or "").partition("\n")
    names = "; ".join(f"{question.name}: {question.asks}" for question in found)
    parser = argparse.ArgumentParser(prog=report.COMMAND, description=summary, epilog=f"Questions. {names}")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="smaller logs and fewer rounds, rough figures")
    size.add_argument("--tiny", action="store_true", help="a few seconds: shows that all of it runs, and nothing else")
    size.add_argument("--results", type=Path, metavar="FILE", help="measure nothing: show what an earlier --json kept")
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", choices=[q.name for q in found], help="answer these questions alone"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the results")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw the chart")
    parser.add_argument("--publish", action="store_true", help="put tables and chart into README.md and docs/")
    parser.add_argument(
        "--dir", type=Path, help="work below this directory (default: the current one, for /tmp may be no disk)"
    )
    return parser.parse_args()


async def run(chosen: Sequence[Question], size: plan.Plan, folder: Path, skipped: dict[str, str]) -> Results:
    """Answer the questions."""
    skipped |= {peer.name: f"{peer.needs} is not installed" for peer in peers.ALL if not peers.is_installed(peer.needs)}
    bench = Bench(size, Workshop(folder, progress), skipped)
    start = time.perf_counter()
    cases: list[CaseResult] = []
    for question in chosen:
        began = time.perf_counter()
        try:
            cases += await answer(question, bench)
        except Exception as error:  # noqa: BLE001 - one question that cannot be answered leaves the others theirs
            skipped[f"question {question.name}"] = f"it failed: {error!r}"[:200]
            print(f"{question.name} failed: {error!r}", file=sys.stderr)
        print(f"{question.name}: {time.perf_counter() - began:.1f} s", file=sys.stderr)
    return Results(
        plan=size.name,
        rounds=size.rounds,
        date=today(),
        seconds=round(time.perf_counter() - start, 1),
        machine=describe_machine(folder),
        cases=cases,
        skipped=skipped,
    )


if __name__ == "__main__":
    main()
