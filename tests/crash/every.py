"""Cut a migration after every one of its effects. Takes minutes; `inv test.crash` runs it."""

import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from tests.appliance.lines import Lines
from tests.crash.cases import Reference, cut_and_resume, refer
from tests.crash.injector import Blow
from tests.crash.tiny import native, tiny

# Two cores: more at a time gain nothing.
_AT_A_TIME = 2


def run_all(limit: int | None = None) -> int:
    """Cut after every effect, killing once all processes of the run and once the run alone.

    Args:
        limit: At most so many cases, spread evenly; None is all.

    Returns:
        1 if a case failed, else 0: an exit status.
    """
    began = time.monotonic()
    lines = Lines()
    reference = refer(tiny(lines), native(lines))
    cases = [(one.number, blow) for blow in (Blow.ALL, Blow.ALONE) for one in reference.effects]
    if limit is not None and limit < len(cases):
        cases = [cases[index * len(cases) // limit] for index in range(limit)]
    print(f"{len(reference.effects)} effects, {len(cases)} cases", flush=True)
    failures = 0
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        waiting = {pool.submit(_try, reference, *case): case for case in cases}
        for done, future in enumerate(as_completed(waiting), start=1):
            number, blow = waiting[future]
            problem = future.result()
            failures += bool(problem)
            effect = reference.effects[number - 1]
            where = effect.step or "before the first step"
            line = f"{done}/{len(cases)} {time.monotonic() - began:.0f} s: effect {number}"
            line += f" ({effect.kind}, {where}), {blow.value} killed: {problem or 'ok'}"
            print(line, flush=True)
    print(
        f"{len(reference.effects)} effects, {len(cases)} cases, {failures} failures,"
        f" {time.monotonic() - began:.0f} s"
    )
    return int(failures > 0)


def _try(reference: Reference, number: int, blow: Blow) -> str:
    """Return what is wrong with a case, or nothing."""
    try:
        cut_and_resume(reference, number, blow)
    except AssertionError as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        line = f"line {where.lineno} of {Path(where.filename).name}"
        return f"FAILED: {str(error) or where.line} ({line})"
    return ""


if __name__ == "__main__":
    sys.exit(run_all(int(sys.argv[1]) if sys.argv[1:] else None))
