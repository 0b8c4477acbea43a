"""The shell parts of the boot: the gate, the fast way of the settle step, rules, units."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from applianceforge.formats.bootenv import KNOWN_GOOD, NOT_BOOTABLE, Environment, SlotVariables
from applianceforge.slots import reasons
from tests.appliance.cache import CHECKOUT
from tests.migrate.appliances import FRESH, OVERLAY, Appliance, appliance

MIGRATION = CHECKOUT / "images/overlay-migration"
UNITS = sorted(
    path
    for overlay in (OVERLAY, MIGRATION)
    for path in (overlay / "usr/lib/systemd/system").rglob("*.service")
)
SCRIPTS = sorted(
    path
    for overlay in (OVERLAY, MIGRATION)
    for path in (overlay / "usr/lib/applianceforge").iterdir()
)


@pytest.fixture
def box(tmp_path: Path) -> Appliance:
    made = appliance(tmp_path)
    made.write("sys/class/tty/console/active", "tty0 ttyS0\n")
    made.write("dev/tty1", "")
    made.write("dev/ttyS0", "")
    return made


def run(
    box: Appliance, name: str, overlay: Path = OVERLAY, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run a script of an overlay, with the appliance's own programs before those of the host."""
    surroundings = {
        "FORGE_ROOT": str(box.root),
        "PATH": f"{box.root / 'bin'}:{os.environ['PATH']}",
    }
    words = ["/bin/sh", str(overlay / "usr/lib/applianceforge" / name), *arguments]
    return subprocess.run(words, env=surroundings, capture_output=True, text=True, check=False)


def gate(box: Appliance) -> str:
    """Run the gate, and return what it says; it fails unless that is "open"."""
    done = run(box, "gate")
    word = box.places.gate.read_text().strip()
    assert (done.returncode == 0) == (word == "open"), done.stderr
    if word != "open":
        motd = (box.root / "run/motd.d/forge").read_text()
        assert "The services of this appliance are shut." in motd
        assert done.stderr.endswith(motd)
        for name in ("tty1", "ttyS0"):
            console = (box.root / "dev" / name).read_text()
            assert [line for line in motd.splitlines() if line not in console] == []
        assert word in reasons.REASONS
    return word


@pytest.mark.parametrize(
    ("architecture", "epoch", "proved", "word"),
    [
        ("i386", "i386", "", "open"),
        ("amd64", "amd64", "", "open"),
        ("i386", "amd64", "", "epoch-amd64"),
        ("amd64", "i386", "", "not-migrated"),
        ("amd64", "i386", "i386", "not-migrated"),
        ("amd64", "i386", "amd64", "open"),
        ("i386", "amd64", "amd64", "epoch-amd64"),
        ("i386", "", "", "epoch-damaged"),
        ("amd64", "arm64", "", "epoch-damaged"),
        ("amd64", "i386 amd64", "amd64", "epoch-damaged"),
    ],
)
def test_services_are_let_on_to_the_data_of_their_architecture(
    box: Appliance, architecture: str, epoch: str, proved: str, word: str
) -> None:
    box.release(architecture, "a")
    box.write("data/forge/epoch", f"{epoch}\n")
    if proved:
        box.write("run/forge/proved", f"{proved}\n")
    assert gate(box) == word


def test_a_release_that_does_not_say_what_it_is_lets_nothing_on(box: Appliance) -> None:
    box.write("etc/applianceforge/release.env", "NAME=x\n")
    assert gate(box) == "no-release"


@pytest.mark.parametrize("architecture", ["i386", "amd64"])
def test_a_new_disk_gets_its_epoch(box: Appliance, architecture: str) -> None:
    box.release(architecture, "a")
    shutil.rmtree(box.places.forge)
    assert gate(box) == "open"
    assert box.places.epoch.read_text() == f"{architecture}\n"
    assert box.places.forge.stat().st_mode & 0o777 == 0o711
    assert box.places.epoch.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("kind", ["postgresql", "rrd"])
@pytest.mark.parametrize(("architecture", "other"), [("i386", "amd64"), ("amd64", "i386")])
def test_a_lost_epoch_is_not_guessed(
    box: Appliance, architecture: str, other: str, kind: str
) -> None:
    box.release(architecture, "a")
    box.places.epoch.unlink()
    box.write(f"data/{other}/{kind}/file", "")
    assert gate(box) == "epoch-lost"
    assert not box.places.epoch.exists()


def test_old_data_that_is_served_is_marked_so(box: Appliance) -> None:
    box.release("i386", "a")
    assert gate(box) == "open"
    assert not box.places.source_used.exists()
    box.work.mkdir()
    assert gate(box) == "open"
    assert box.places.source_used.exists()


def test_old_data_that_is_not_served_is_not_marked(box: Appliance) -> None:
    box.work.mkdir()
    box.write("run/forge/proved", "amd64\n")
    assert gate(box) == "open"
    box.release("i386", "a")
    box.write("data/forge/epoch", "amd64\n")
    assert gate(box) == "epoch-amd64"
    assert not box.places.source_used.exists()


def test_a_mark_that_cannot_be_made_lets_nothing_on(box: Appliance) -> None:
    box.release("i386", "a")
    box.work.mkdir()
    box.places.source_used.mkdir()
    assert gate(box) == "data-unwritable"


# The settle step.


def settle(box: Appliance, *arguments: str) -> tuple[int, str]:
    """Run the settle script; return its status, and the programs that it ran in their order."""
    for name, status in (("applianceforge", "exit 7"), ("systemctl", "exit 0")):
        box.write(f"bin/{name}", f'#!/bin/sh\necho {name} "$@" >>{box.root}/ran\n{status}\n')
        (box.root / "bin" / name).chmod(0o755)
    done = run(box, "settle", OVERLAY, *arguments)
    path = box.root / "ran"
    ran = path.read_text() if path.exists() else ""
    path.unlink(missing_ok=True)
    return done.returncode, ran


def test_a_good_slot_only_opens_its_ports(box: Appliance) -> None:
    box.release("i386", "a")
    box.set_environment(Environment(3, "a", KNOWN_GOOD, NOT_BOOTABLE))
    assert settle(box) == (0, "")
    assert box.rules == ["ports-open"]


def test_the_copy_that_grub_takes_is_read(box: Appliance) -> None:
    box.release("i386", "a")
    box.set_environment(Environment(3, "a", KNOWN_GOOD, NOT_BOOTABLE))
    newer = Environment(4, "a", SlotVariables(True, 2, False), KNOWN_GOOD)
    older = (box.root / "boot/loader/env1").read_bytes()
    box.set_environment(newer)
    (box.root / "boot/loader/env1").write_bytes(older)
    assert settle(box)[1].startswith("applianceforge settle")
    # Not if it is torn.
    torn = (box.root / "boot/loader/env2").read_bytes().replace(b"end=4", b"end=3")
    (box.root / "boot/loader/env2").write_bytes(torn)
    assert settle(box) == (0, "")
    (box.root / "boot/loader/env2").write_bytes(b"")
    assert settle(box) == (0, "")


@pytest.mark.parametrize(
    "why", ["not good", "epoch", "no epoch", "reason", "no environment", "no slot"]
)
def test_everything_else_is_looked_at(box: Appliance, why: str) -> None:
    box.release("i386", "a")
    box.set_environment(Environment(3, "a", KNOWN_GOOD, NOT_BOOTABLE))
    if why == "not good":
        box.set_environment(Environment(3, "a", FRESH, NOT_BOOTABLE))
    elif why == "epoch":
        box.write("data/forge/epoch", "amd64\n")
    elif why == "no epoch":
        box.places.epoch.unlink()
    elif why == "reason":
        box.set_environment(Environment(3, "a", KNOWN_GOOD, NOT_BOOTABLE, "b-disk-full"))
    elif why == "no environment":
        shutil.rmtree(box.root / "boot/loader")
    else:
        box.write("proc/cmdline", "quiet\n")
    status, ran = settle(box)
    assert status == 7
    assert ran == "applianceforge settle\n"
    assert box.rules == []


def test_a_reason_that_was_told_is_not_looked_at_again(box: Appliance) -> None:
    box.release("i386", "a")
    box.set_environment(Environment(3, "a", KNOWN_GOOD, NOT_BOOTABLE, "b-disk-full"))
    box.write("data/forge/told", "3 b-disk-full\n")
    assert settle(box) == (0, "")
    box.write("data/forge/told", "2 b-disk-full\n")
    assert settle(box)[1] == "applianceforge settle\n"


def test_a_slot_that_is_not_good_and_cannot_be_settled_starts_again(box: Appliance) -> None:
    status, ran = settle(box)
    assert status == 7
    assert ran == "applianceforge settle\nsystemctl --no-block reboot\n"


def test_it_does_not_start_again_where_nothing_else_would_start(box: Appliance) -> None:
    box.set_environment(Environment(3, "b", NOT_BOOTABLE, FRESH))
    assert settle(box) == (7, "applianceforge settle\n")


def test_what_could_not_begin_starts_again_only_where_the_slot_is_not_good(box: Appliance) -> None:
    assert settle(box, "failed") == (1, "systemctl --no-block reboot\n")
    box.set_environment(Environment(3, "b", KNOWN_GOOD, KNOWN_GOOD))
    assert settle(box, "failed") == (1, "")
    assert box.rules == []


# The migration unit's own script.


@pytest.mark.parametrize(
    ("epoch", "status", "ran"), [("amd64", 0, ""), ("i386", 7, "applianceforge migrate boot\n")]
)
def test_python_is_only_started_where_there_is_something_to_migrate(
    box: Appliance, epoch: str, status: int, ran: str
) -> None:
    box.write("data/forge/epoch", f"{epoch}\n")
    settle(box)
    done = run(box, "migrate-at-boot", MIGRATION)
    assert done.returncode == status
    path = box.root / "ran"
    assert (path.read_text() if path.exists() else "") == ran


# Rules, units, scripts.


def _nft(*words: str) -> "subprocess.CompletedProcess[str]":
    """Run nft in a network of its own, which needs root."""
    return subprocess.run(
        ["unshare", "--net", "/bin/sh", "-c", *words], capture_output=True, text=True, check=False
    )


needs_nft = pytest.mark.skipif(
    shutil.which("nft") is None or os.geteuid() != 0 or _nft("nft list ruleset").returncode != 0,
    reason="needs nft, root and nf_tables",
)


@needs_nft
@pytest.mark.parametrize(
    ("name", "ports"), [("open", {"22", "25", "80", "443"}), ("refused", {"22", "80", "443"})]
)
def test_rules_are_loaded_over_each_other(name: str, ports: set[str]) -> None:
    rules = OVERLAY / "etc/applianceforge"
    script = (
        f"nft -f {rules}/ports-shut.nft && nft list set inet forge open_tcp"
        f" && nft -f {rules}/ports-open.nft && nft -f {rules}/ports-{name}.nft"
        f" && nft -f {rules}/ports-{name}.nft && echo ==== && nft list ruleset"
    )
    done = _nft(script)
    assert done.returncode == 0, done.stderr
    shut, _, loaded = done.stdout.partition("====")
    assert "elements" not in shut
    (elements,) = [line for line in loaded.splitlines() if "elements" in line]
    found = elements.partition("{")[2].partition("}")[0].replace(",", " ").split()
    assert set(found) == ports
    assert loaded.count("policy drop") == 2


@needs_nft
def test_shut_ports_let_nothing_in_and_open_ports_do(tmp_path: Path) -> None:
    rules = OVERLAY / "etc/applianceforge"
    # A second network stands for the outside; the same listener answers or does not.
    script = f"""
set -e
unshare --net sleep 30 & outside=$!
sleep 0.3
ip link add inner type veth peer name outer netns $outside
ip address add 192.0.2.1/24 dev inner && ip link set inner up && ip link set lo up
nsenter --net=/proc/$outside/ns/net sh -c \\
    'ip address add 192.0.2.2/24 dev outer; ip link set outer up; ip link set lo up'
python3 -c 'import socket, time
held = [socket.create_server(("0.0.0.0", port)) for port in (25, 5432)]
time.sleep(30)' & listener=$!
sleep 0.5
ask() {{ nsenter --net=/proc/$outside/ns/net python3 -c '
import socket, sys
try:
    socket.create_connection(("192.0.2.1", int(sys.argv[1])), 0.7).close(); print("in")
except OSError: print("out")' $1; }}
own() {{ python3 -c '
import socket; socket.create_connection(("192.0.2.1", 25), 1).close(); print("own")'; }}
nft -f {rules}/ports-shut.nft; ask 25; ask 5432; own
nft -f {rules}/ports-open.nft; ask 25; ask 5432
nft -f {rules}/ports-refused.nft; ask 25
kill $outside $listener
"""
    done = _nft(script)
    assert done.stdout.split() == ["out", "out", "own", "in", "out", "out"], done.stderr


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_units_are_what_systemd_takes(unit: Path, tmp_path: Path) -> None:
    # The programs that they start are in the image and not here.
    text = unit.read_text()
    for line in text.splitlines():
        key, _, command = line.partition("=")
        if key.startswith("Exec"):
            text = text.replace(line, f"{key}=/bin/true")
            program = command.split()[0]
            inside = [overlay / program.lstrip("/") for overlay in (OVERLAY, MIGRATION)]
            ours = program.startswith("/usr/lib/applianceforge/")
            assert not ours or any(path.exists() for path in inside), program
    copy = tmp_path / unit.name
    copy.write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(copy)],
        capture_output=True,
        text=True,
        check=False,
    )
    complaints = [line for line in done.stderr.splitlines() if unit.name in line]
    assert (done.returncode, complaints) == (0, [])


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_can_be_run(script: Path) -> None:
    assert script.stat().st_mode & 0o111 == 0o111
    assert script.read_text().startswith("#!/bin/sh\n")
    subprocess.run(["/bin/sh", "-n", str(script)], check=True)
