"""`python -m bench [PART …]`: measure, print, keep.

Without a part: all of them. `quick` is a short form of `calls` for whoever changes the code: bearerd, Envoy, Go and
Caddy in a minute, printed and not kept. `publish` only writes the charts and tables again, from the results that are
kept.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from bench import results, targets
from bench.parts import PARTS, quick
from bench.plan import Plan
from bench.publish import publish


def main() -> None:
    """Read the arguments, and measure."""
    given = arguments().parse_args()
    plan = Plan(names=tuple(given.only))
    if given.rounds:
        plan = replace(plan, rounds=given.rounds)
    if given.seconds:
        plan = replace(plan, many=given.seconds)
    if given.parts == ["quick"]:
        quick(plan, rounds=given.rounds or 2)
        return
    if given.parts == ["publish"]:
        publish()
        return
    wrong = sorted(set(given.parts) - PARTS.keys())
    if wrong:
        raise SystemExit(f"no part {', '.join(wrong)}; there are: quick, {', '.join(PARTS)}")
    for name in given.parts or PARTS:
        part = PARTS[name]
        section = part.measure(plan)
        print("\n".join([f"== {name}: {part.about}", *part.lines(section)]), flush=True)
        if not given.only:
            results.keep(name, section, given.out)
    if not given.only:
        print("\n".join(["== targets", *targets.lines(results.kept(given.out))]), flush=True)
    if not given.only and given.out == results.FILE:
        publish()


def arguments() -> argparse.ArgumentParser:
    """Of this program."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"quick, {', '.join(PARTS)}; all but quick without one"
    )
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="WORD", help="proxies with such a word in their names; not kept"
    )
    parser.add_argument("--rounds", type=int, help="of each measurement; default 3, quick 2")
    parser.add_argument("--seconds", type=float, help="of each measurement with many clients; default 3")
    parser.add_argument("--out", type=Path, default=results.FILE, help="another file than bench/results.json")
    return parser


if __name__ == "__main__":
    main()
