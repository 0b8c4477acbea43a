"""The RELEASE.json of an image, and what it says of the tree."""

from dataclasses import replace
from pathlib import Path

from applianceforge.imaging import release_document, tree_facts
from applianceforge.imaging.recipe import Requires
from applianceforge.imaging.tree_facts import TreeFacts
from applianceforge.model.architecture import Architecture
from applianceforge.preflight import release_file
from applianceforge.preflight.requirements import Kernel, Last32Bit, PostgreSQL
from tests.imaging import builds

KERNEL = "6.1.0-9-amd64"
FACTS = TreeFacts(KERNEL, "yes", 15, ("pgcrypto", "plpgsql"), ("C", "C.utf8", "POSIX"))


def test_the_file_is_one_that_the_check_reads() -> None:
    recipe = replace(
        builds.small(),
        requires=Requires(512 << 20, 1 << 30, "1.1", 2),
        last_32_bit=Last32Bit("1.1", "2028-06-30"),
    )
    release = release_document.release_of(recipe, FACTS, builds.EPOCH_S)
    assert release.appliance == "box"
    assert release.slot_bytes == 256 << 20
    assert release.postgresql == PostgreSQL(15, ("pgcrypto", "plpgsql"), ("C", "C.utf8", "POSIX"))
    assert release_file.decode(release_document.encode(release)) == release


def test_what_is_not_there_is_not_said() -> None:
    recipe = replace(builds.small(), architecture=Architecture.I386)
    release = release_document.release_of(recipe, TreeFacts(KERNEL), builds.EPOCH_S)
    assert release.postgresql is None
    assert release.kernel == Kernel(KERNEL, "yes")
    written = release_document.encode(release)
    assert release_file.decode(written) == release
    for word in (b"x86_64_level", b"memory_bytes", b"last_32_bit", b"postgresql"):
        assert word not in written


def a_tree(root: Path, config: str) -> Path:
    for name, text in {
        f"boot/config-{KERNEL}": config,
        "usr/lib/postgresql/13/bin/postgres": "",
        "usr/lib/postgresql/15/bin/postgres": "",
        "usr/share/postgresql/13/extension/old.control": "",
        "usr/share/postgresql/15/extension/plpgsql.control": "",
        "usr/share/postgresql/15/extension/plpgsql--1.0.sql": "",
        "usr/share/postgresql/15/extension/hstore.control": "",
        "usr/share/postgresql/15/extension/hstore--1.7.control": "",
        "usr/bin/locale": "",
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_what_a_tree_has(tmp_path: Path) -> None:
    asked = []

    def run(*words: str) -> bytes:
        asked.append(words)
        return b"POSIX\nC\nC.utf8\n"

    tree = a_tree(tmp_path, "CONFIG_64BIT=y\nCONFIG_IA32_EMULATION=y\n")
    facts = tree_facts.gather(tree, KERNEL, run)
    assert asked == [("/usr/bin/locale", "-a")]
    assert facts == TreeFacts(KERNEL, "yes", 15, ("hstore", "plpgsql"), ("C", "C.utf8", "POSIX"))
    assert tree_facts.decode(tree_facts.encode(facts)) == facts


def test_whether_the_kernel_runs_32_bit_programs(tmp_path: Path) -> None:
    said = {}
    for config in (
        "# CONFIG_64BIT is not set\n",
        "CONFIG_64BIT=y\n# CONFIG_IA32_EMULATION is not set\n",
        "CONFIG_64BIT=y\nCONFIG_IA32_EMULATION=y\nCONFIG_IA32_EMULATION_DEFAULT_DISABLED=y\n",
    ):
        facts = tree_facts.gather(a_tree(tmp_path, config), KERNEL, lambda *_: b"")
        said[config] = facts.ia32_emulation
    assert list(said.values()) == ["yes", "no", "option"]


def test_a_tree_with_nothing_of_that(tmp_path: Path) -> None:
    assert tree_facts.gather(tmp_path, KERNEL, lambda *_: b"") == TreeFacts(KERNEL)
