"""The RRDs of a migration as a subject: convert, prove, publish."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from applianceforge.migrate.engine import Phase, Step, StepResult
from applianceforge.migrate.rrd.convert import convert_tree
from applianceforge.migrate.rrd.scan import Scan, scan
from applianceforge.migrate.rrd.verify import FileDifference, verify_trees
from applianceforge.migrate.settings import SourceRrdSettings
from applianceforge.migrate.workspace import staging
from applianceforge.model.errors import NotProvedError
from applianceforge.system import files
from applianceforge.system.effects import Effects
from applianceforge.system.progress import Counter


@dataclass
class ConvertRrds:
    """Steps that take RRDs from native to native.

    Attributes:
        source: What to convert, and how to find it again.
        scan: What was found when the plan was made.
        target: The final name of the new directory.
    """

    source: SourceRrdSettings
    scan: Scan
    target: Path
    jobs: int
    effects: Effects

    def steps(self) -> tuple[Step, ...]:
        """Return convert, verify and publish."""
        size = self.scan.size_bytes
        count = len(self.scan.files)
        return (
            Step("rrd.convert", f"convert {count} RRDs", Phase.IMPORT, size),
            Step("rrd.verify", "prove the RRDs equal", Phase.VERIFY, size),
            Step("rrd.publish", "give the new RRDs their name", Phase.PUBLISH),
        )

    def apply(self, step: Step, counter: Counter) -> StepResult:
        """Do one of the steps."""
        if step.key == "rrd.convert":
            return self._convert(counter)
        if step.key == "rrd.verify":
            return self._verify(counter)
        return publish(self.target, self.effects)

    def close(self) -> None:
        """Nothing of it keeps running."""

    def _convert(self, counter: Counter) -> StepResult:
        target = staging(self.target)
        files.remove_tree(target, self.effects)
        files.make_directory(target.parent, self.effects, mode=0o755)
        # Scanned again: a run that was cut may be resumed much later.
        found = scan(self.source.directory, self.source.patterns)
        done = convert_tree(found, target, self.effects, counter=counter, jobs=self.jobs)
        return StepResult(
            f"{done.files} files",
            {"files": done.files, "target_bytes": done.target_bytes},
        )

    def _verify(self, counter: Counter) -> StepResult:
        return prove(
            verify_trees(
                self.source.directory,
                staging(self.target),
                patterns=self.source.patterns,
                counter=counter,
                jobs=self.jobs,
            ),
            counter.done_rows,
        )


def publish(target: Path, effects: Effects) -> StepResult:
    """Give a proved directory its final name; done again after a cut, it finds it done."""
    new = staging(target)
    if new.exists():
        files.sync_tree(new, effects)
        files.rename(new, target, effects)
    return StepResult(str(target))


def prove(differences: Sequence[FileDifference], count: int) -> StepResult:
    """Judge a comparison.

    Raises:
        NotProvedError: There are differences; the evidence names each.
    """
    if differences:
        lines = tuple(map(str, differences))
        more = f", and {len(lines) - 1} more" if len(lines) > 1 else ""
        raise NotProvedError(
            f"the RRDs are not equal: {lines[0]}{more}",
            hint="the new files keep their staging name and are not used; the old ones are as they"
            " were. Stop what writes RRDs, then run again",
            evidence=lines,
        )
    return StepResult(f"{count} files equal, every value", {"proved": {"rrds": count}})
