"""The entry script, in a directory of its own with programs that only take notes.

The script is the unit here, so apt-get, sudo and Python are stand-ins; nothing is installed.
"""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SHELLS = [shell for shell in ("dash", "bash", "busybox") if shutil.which(shell)]
# What the script uses of the system itself.
REAL = [
    "cat",
    "dirname",
    "env",
    "flock",
    "mkdir",
    "readlink",
    "rm",
    "sha256sum",
    "sh",
    "sleep",
    "cp",
    "chmod",
]

PYTHON = """\
#!/bin/sh
case "$*" in
    "-c import sys;"*) exit {too_old} ;;
    "-c "*) exit 0 ;;
    "-m pip --version") exit 0 ;;
    "-m venv --clear "*)
        echo "venv" >>"$NOTES"
        rm -rf "$4"; mkdir -p "$4/bin"; cp "$0" "$4/bin/python"; chmod +x "$4/bin/python" ;;
    "-m pip "*)
        echo "pip" >>"$NOTES"
        [ -z "${{SLOW-}}" ] || sleep 0.4
        [ -z "${{OFFLINE-}}" ] || exit 1
        printf '#!/bin/sh\\necho "inv $*"\\n' >.venv/bin/inv; chmod +x .venv/bin/inv ;;
esac
"""
DPKG_QUERY = """\
#!/bin/sh
shift 3
for package; do
    case " $MISSING " in *" $package "*) ;; *) printf 'installed %s|' "$package" ;; esac
done
[ -z "$MISSING" ]
"""
SUDO = '#!/bin/sh\necho "sudo $*" >>"$NOTES"\nexec "$@"\n'


@dataclass(frozen=True)
class Checkout:
    """A checkout with nothing but the script, and the programs that it finds."""

    root: Path
    programs: Path
    notes: Path

    def program(self, name: str, text: str) -> None:
        path = self.programs / name
        path.unlink(missing_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def environment(self, **extra: str) -> dict[str, str]:
        return {"PATH": str(self.programs), "NOTES": str(self.notes), "MISSING": "", **extra}

    def run(
        self, *arguments: str, shell: str = "sh", **extra: str
    ) -> subprocess.CompletedProcess[str]:
        command = [shutil.which(shell) or shell, str(self.root / "forge"), *arguments]
        if shell == "busybox":
            command.insert(1, "sh")
        return subprocess.run(
            command,
            env=self.environment(**extra),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def noted(self) -> list[str]:
        lines = self.notes.read_text().splitlines() if self.notes.exists() else []
        self.notes.unlink(missing_ok=True)
        return lines


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    made = Checkout(tmp_path / "check out", tmp_path / "bin", tmp_path / "notes")
    made.root.mkdir()
    made.programs.mkdir()
    shutil.copy(ROOT / "forge", made.root)
    (made.root / "pyproject.toml").write_text("[project]\n")
    for name in REAL:
        found = shutil.which(name)
        assert found is not None, name
        (made.programs / name).symlink_to(found)
    made.program("python3", PYTHON.format(too_old=0))
    made.program("dpkg", "#!/bin/sh\necho ${ARCHITECTURE-amd64}\n")
    made.program("dpkg-query", DPKG_QUERY)
    made.program("apt-get", '#!/bin/sh\necho "apt-get $*" >>"$NOTES"\n')
    made.program("id", "#!/bin/sh\necho ${USER_ID-0}\n")
    made.program("sudo", SUDO)
    return made


@pytest.mark.parametrize("shell", SHELLS)
def test_syntax(shell: str) -> None:
    command = [shell, "sh"] if shell == "busybox" else [shell]
    said = subprocess.run([*command, "-n", str(ROOT / "forge")], capture_output=True, check=False)
    assert (said.returncode, said.stderr) == (0, b"")


def test_ci_syntax() -> None:
    subprocess.run(["bash", "-n", str(ROOT / ".ci" / "run")], check=True)


@pytest.mark.parametrize("script", ["forge", ".ci/run"])
def test_scripts_are_executable(script: str) -> None:
    assert os.access(ROOT / script, os.X_OK)


@pytest.mark.parametrize("shell", SHELLS)
def test_first_run_prepares_and_second_does_not(checkout: Checkout, shell: str) -> None:
    first = checkout.run("demo", "--quick", shell=shell)
    assert (first.returncode, first.stdout) == (0, "inv demo --quick\n")
    assert "will make .venv" in first.stderr
    assert checkout.noted() == ["venv", "pip"]
    second = checkout.run("test", shell=shell)
    assert (second.returncode, second.stdout, second.stderr) == (0, "inv test\n", "")
    assert checkout.noted() == []


def test_setup_stops_before_the_task(checkout: Checkout) -> None:
    said = checkout.run("setup")
    assert (said.returncode, said.stdout) == (0, "")
    assert checkout.noted() == ["venv", "pip"]


def test_changed_requirements_are_installed_into_the_same_venv(checkout: Checkout) -> None:
    checkout.run("setup")
    checkout.noted()
    (checkout.root / "pyproject.toml").write_text("[project]\nname = 'other'\n")
    assert checkout.run("setup").returncode == 0
    assert checkout.noted() == ["pip"]
    assert checkout.run("setup").returncode == 0
    assert checkout.noted() == []


def test_moved_checkout_is_prepared_again(checkout: Checkout) -> None:
    checkout.run("setup")
    checkout.noted()
    moved = Checkout(checkout.root.rename(checkout.root.parent / "moved"), *_rest(checkout))
    assert moved.run("setup").returncode == 0
    assert moved.noted() == ["pip"]


def _rest(checkout: Checkout) -> tuple[Path, Path]:
    return checkout.programs, checkout.notes


@pytest.mark.parametrize("lost", ["python", "inv"])
def test_broken_venv_is_mended(checkout: Checkout, lost: str) -> None:
    checkout.run("setup")
    checkout.noted()
    (checkout.root / ".venv" / "bin" / lost).unlink()
    assert checkout.run("setup").returncode == 0
    assert checkout.noted() == (["venv", "pip"] if lost == "python" else ["pip"])


def test_interrupted_run_is_begun_anew(checkout: Checkout) -> None:
    failed = checkout.run("setup", OFFLINE="yes")
    assert failed.returncode == 1
    assert "run this again" in failed.stderr
    assert checkout.noted() == ["venv", "pip"]
    assert checkout.run("setup").returncode == 0
    assert checkout.noted() == ["venv", "pip"]
    assert checkout.run("setup").returncode == 0
    assert checkout.noted() == []


def test_two_at_once_prepare_once(checkout: Checkout) -> None:
    command = ["sh", str(checkout.root / "forge"), "setup"]
    environment = checkout.environment(SLOW="yes")
    both = [subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) for _ in "12"]
    assert [one.wait(timeout=30) for one in both] == [0, 0]
    assert checkout.noted() == ["venv", "pip"]


def test_task_does_not_hold_the_lock(checkout: Checkout) -> None:
    checkout.run("setup")
    (checkout.root / ".venv" / "bin" / "inv").write_text(
        "#!/bin/sh\nflock -n .cache/forge.lock cat /dev/null && echo free\n"
    )
    assert checkout.run("test").stdout == "free\n"


def test_missing_packages_are_announced_and_installed(checkout: Checkout) -> None:
    said = checkout.run("setup", MISSING="gcc mmdebstrap")
    assert said.returncode == 0
    assert "will install these Debian packages: gcc mmdebstrap" in said.stderr
    update, install, *rest = checkout.noted()
    assert update == "apt-get -q update"
    assert install.startswith("apt-get -q -y --no-install-recommends")
    assert install.endswith("install gcc mmdebstrap")
    assert rest == ["venv", "pip"]


def test_nothing_missing_asks_apt_nothing(checkout: Checkout) -> None:
    checkout.run("setup", USER_ID="1000")
    assert checkout.noted() == ["venv", "pip"]


def test_sudo_is_used_when_not_root(checkout: Checkout) -> None:
    checkout.run("setup", MISSING="gcc", USER_ID="1000")
    noted = checkout.noted()
    assert noted[0] == "sudo apt-get -q update"
    assert noted[2].startswith("sudo env DEBIAN_FRONTEND=noninteractive apt-get")


@pytest.mark.parametrize(
    ("without", "extra", "words"),
    [
        ("apt-get", {}, "there is no apt-get here"),
        ("dpkg", {}, "there is no dpkg here"),
        (None, {"ARCHITECTURE": "arm64"}, "this system is arm64"),
        (None, {"ARCHITECTURE": "i386"}, "this system is i386"),
        ("sudo", {"USER_ID": "1000", "MISSING": "gcc"}, "as root, run: apt-get install gcc"),
    ],
)
def test_machine_that_cannot_be_served(
    checkout: Checkout, without: str | None, extra: dict[str, str], words: str
) -> None:
    if without is not None:
        (checkout.programs / without).unlink()
    said = checkout.run("demo", **extra)
    assert (said.returncode, said.stdout) == (1, "")
    assert words in said.stderr
    assert checkout.noted() == []
    assert not (checkout.root / ".venv").exists()


def test_old_python_is_refused_unless_debians_is_newer(checkout: Checkout) -> None:
    checkout.program("python3", PYTHON.format(too_old=1))
    script = checkout.root / "forge"
    nowhere = str(checkout.programs / "no-such-python3")
    script.write_text(script.read_text().replace("/usr/bin/python3", nowhere))
    said = checkout.run("setup")
    assert said.returncode == 1
    assert "older than Python 3.11" in said.stderr
    assert checkout.noted() == []
    better = checkout.programs / "no-such-python3"
    better.write_text(PYTHON.format(too_old=0))
    better.chmod(0o755)
    assert checkout.run("setup").returncode == 0
    assert checkout.noted() == ["venv", "pip"]


@pytest.mark.parametrize("verb", ["help", "--help", "-h"])
def test_help(checkout: Checkout, verb: str) -> None:
    said = checkout.run(verb)
    assert said.returncode == 0
    assert said.stdout.startswith("Usage: ./forge VERB")
    assert checkout.noted() == []


@pytest.mark.parametrize("arguments", [(), ("unknown",)])
def test_wrong_usage(checkout: Checkout, arguments: tuple[str, ...]) -> None:
    said = checkout.run(*arguments)
    assert (said.returncode, said.stdout) == (2, "")
    assert "Usage:" in said.stderr
    assert checkout.noted() == []


def test_no_foreign_architecture_is_added() -> None:
    assert "--add-architecture" not in (ROOT / "forge").read_text()
