"""What a finished operation has to show: what was there, what is there, what was proved."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from applianceforge.migrate.engine import StepRecord

SCHEMA = 1


@dataclass(frozen=True)
class StepOutcome:
    """One step: its title, how long it took, what it moved, and what came out in a few words."""

    key: str
    title: str
    elapsed_s: float
    done_bytes: int
    done_rows: int
    detail: str


@dataclass(frozen=True)
class SideOutcome:
    """One side in figures.

    Attributes:
        postgres_major: 0 where there is no cluster.
        postgres_bytes: The data directory on disk.
        width: 32 or 64, of the cluster's programs.
    """

    label: str
    postgres_major: int
    width: int
    postgres_bytes: int
    databases: int
    tables: int
    rows: int
    rrds: int
    rrd_bytes: int


@dataclass(frozen=True)
class Outcome:
    """The result of an operation.

    Attributes:
        operation: "run", "export", "import" or "verify".
        began_s: Seconds since 1970, of the first attempt.
        ended_s: Of the end.
        proofs: What was proved equal, and how many of each.
        told: Differences that are expected, and why.
        warnings: Titles of findings that did not inhibit.
        predicted_peak_bytes: The space that was predicted; 0 where nothing was.
        peak_bytes: The most that was seen.
        interruptions: How often it was cut and resumed.
        earlier: It was finished before, and nothing was done now.
    """

    operation: str
    began_s: float
    ended_s: float
    source: SideOutcome
    target: SideOutcome
    steps: tuple[StepOutcome, ...]
    proofs: Mapping[str, int]
    told: tuple[str, ...]
    warnings: tuple[str, ...]
    predicted_peak_bytes: int
    peak_bytes: int
    interruptions: int
    earlier: bool = False

    @property
    def elapsed_s(self) -> float:
        """Return the time that its steps took, without pauses between attempts."""
        return sum(step.elapsed_s for step in self.steps)


def encode(outcome: Outcome) -> bytes:
    """Return the outcome as JSON."""
    fields = {"schema": SCHEMA} | asdict(outcome) | {"elapsed_s": round(outcome.elapsed_s, 3)}
    return json.dumps(fields, ensure_ascii=False, indent=1).encode()


def decode(content: bytes) -> Outcome:
    """Return the outcome that `encode` wrote."""
    fields: dict[str, Any] = json.loads(content)
    fields.pop("schema")
    fields.pop("elapsed_s")
    return Outcome(
        **fields
        | {
            "source": SideOutcome(**fields["source"]),
            "target": SideOutcome(**fields["target"]),
            "steps": tuple(StepOutcome(**one) for one in fields["steps"]),
            "told": tuple(fields["told"]),
            "warnings": tuple(fields["warnings"]),
        }
    )


def steps_of(records: Sequence[StepRecord]) -> tuple[StepOutcome, ...]:
    """Return the steps' figures."""
    return tuple(
        StepOutcome(
            one.step.key,
            one.step.title,
            one.elapsed_s,
            one.done_bytes,
            one.done_rows,
            one.detail,
        )
        for one in records
    )


def proofs_of(records: Sequence[StepRecord]) -> tuple[dict[str, int], tuple[str, ...]]:
    """Return what the verifying steps proved, and the differences that they told."""
    proofs: dict[str, int] = {}
    told: list[str] = []
    for one in records:
        for what, count in one.values.get("proved", {}).items():
            proofs[what] = proofs.get(what, 0) + count
        told.extend(one.values.get("told", ()))
    return proofs, tuple(told)
