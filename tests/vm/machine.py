"""Virtual machines for tests, with the words of the NixOS test driver.

    with Machine(Hardware(disks=(Disk(image),), processor="coreduo"), name="legacy") as machine:
        machine.start()
        machine.wait_for_unit("multi-user.target")
        assert machine.succeed("uname -m") == "i686\\n"

Images are never changed: a machine writes to overlays in a directory of its own, which stay over
`cut_power` and `start` and go when the machine goes. On an exception the serial log, the screen,
QEMU's command line and its protocol are kept, and the exception names them. QEMU ends with the
`with` block, and is killed by the kernel should this process be killed.

Source: the vocabulary is that of nixos/lib/test-driver; images and channel are our own.
"""

from __future__ import annotations

import re
import shlex
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from applianceforge.system import programs
from applianceforge.system.effects import Effects
from applianceforge.system.programs import Command, Process
from tests.vm import accelerator, artefacts, overlays
from tests.vm.channel import Channel, Done
from tests.vm.console import SCREEN_ADDRESS, SCREEN_BYTES, Console, decode_screen
from tests.vm.hardware import Bus, Files, Hardware, command_line
from tests.vm.program import find
from tests.vm.qmp import Event, Qmp, QmpError

BOOT_S = 300.0
_CHUNK_BYTES = 1 << 20
_QMP_S = 30.0


class MachineError(AssertionError):
    """The machine did not do what the test expects of it."""


class Machine:
    """One virtual machine.

    Args:
        hardware: What it is made of.
        name: What messages and artefacts call it.
        allowed: Regular expressions of bad console lines that this test expects.
        run_by: The accelerator; by default the one that `accelerator` chose.
        watch: Whether a bad line on the console ends the test.
    """

    def __init__(
        self,
        hardware: Hardware,
        *,
        name: str = "machine",
        allowed: Sequence[str] = (),
        run_by: str | None = None,
        watch: bool = True,
    ) -> None:
        self.hardware = hardware
        self.name = name
        self._run_by = run_by
        self._watch = watch
        self._place = tempfile.TemporaryDirectory(prefix="vm-")
        self.files = Files(Path(self._place.name))
        self.console = Console(self.files.console, allowed)
        self._command: Command | None = None
        self._process: Process | None = None
        self._qmp: Qmp | None = None
        self._channel: Channel | None = None
        self._keyboard: socket.socket | None = None
        self._boots_in_snapshots: dict[str, str | None] = {}
        self.events: list[Event] = []
        self._subtests: list[str] = []
        try:
            for number, disk in enumerate(hardware.disks):
                overlays.prepare(disk, self.files.overlay(number))
                if disk.record:
                    self.files.write_log(number).touch()
        except BaseException:
            self._place.cleanup()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self._look_at_the_console()
        except MachineError as found:
            self._explain(found)
            raise
        finally:
            if error is not None:
                self._explain(error)
            self.close()

    def close(self) -> None:
        """End QEMU, and remove all that the machine wrote."""
        self.cut_power()
        self._place.cleanup()

    # Power.

    def start(self, *, snapshot: str | None = None) -> None:
        """Switch it on; return as soon as QEMU runs.

        Args:
            snapshot: Begin with a snapshot that was saved before.
        """
        if self.running:
            raise MachineError(f"{self.name} runs already")
        self._forget()
        chosen = self._run_by or accelerator.choose().name
        options = command_line(self.hardware, self.files, chosen, snapshot)
        self._command = Command((find(self.hardware.program), *options))
        for path in (self.files.qmp, self.files.channel, self.files.console_socket):
            path.unlink(missing_ok=True)
        self._process = programs.start(
            self._command,
            Effects(),
            output=self.files.directory / "qemu.out",
            errors=self.files.said,
            outlives_us=False,
        )
        try:
            self._qmp = Qmp(self._connect(self.files.qmp), self.files.qmp_log)
        except QmpError as error:
            raise MachineError(f"QEMU did not start: {self._said() or error}") from error
        if self.hardware.channel:
            self._channel = Channel(self.files.channel, self._tick)
            if snapshot is not None:
                self._channel.resume(self._boots_in_snapshots[snapshot])

    @property
    def running(self) -> bool:
        """Return whether QEMU runs."""
        return self._process is not None and self._process.poll() is None

    def cut_power(self) -> None:
        """Kill QEMU, as it stands.

        What the guest wrote is in this machine's page cache, flushed by the guest or not: so this
        is a crash of the guest, and loses less than a power cut does. What a cut can lose is
        rebuilt from a record of the writes (see crash_states).
        """
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._forget()

    def quit(self) -> None:
        """End QEMU without a word to the guest, but with all that QEMU itself holds written."""
        self.qmp.command("quit")
        self.wait_for_end(timeout_s=_QMP_S)

    def reset(self) -> None:
        """Press the reset button."""
        self.qmp.command("system_reset")

    def shutdown(self, *, timeout_s: float = 120) -> None:
        """Shut the guest down in order, and wait for its end."""
        self._leave("poweroff")
        self.wait_for_end(timeout_s=timeout_s)

    def reboot(self, *, timeout_s: float = BOOT_S) -> None:
        """Start the guest anew in order, and wait for its agent."""
        before = self.channel.wait_for_agent(timeout_s=timeout_s)
        self._leave("reboot")
        self.channel.wait_for_agent(timeout_s=timeout_s, after=before)

    def _leave(self, how: str) -> None:
        # Not at once: the answer must come out first.
        order = f"systemctl {how} --no-block 2>/dev/null || {how} -f"
        self.succeed(f"(sleep 0.2; {order}) >/dev/null 2>&1 </dev/null &")

    def wait_for_end(self, *, timeout_s: float) -> None:
        """Wait until QEMU ends by itself.

        Raises:
            MachineError: It runs on, or ended with a failure.
        """
        assert self._process is not None
        until = time.monotonic() + timeout_s
        while self._process.poll() is None:
            if time.monotonic() > until:
                raise MachineError(f"{self.name} still runs after {timeout_s:g} s")
            self._look_at_the_console()
            self._drain()
            try:
                self._process.wait(timeout=0.1)
            except subprocess.TimeoutExpired:
                continue
        self._drain()
        if self._process.returncode != 0:
            raise MachineError(f"QEMU ended with status {self._process.returncode}: {self._said()}")
        self._forget()

    def wait_for_agent(self, *, timeout_s: float = BOOT_S, after: str | None = None) -> str:
        """Wait until the guest takes commands; return the identity of its boot.

        Args:
            timeout_s: How long.
            after: Not in this boot: wait for the next one.
        """
        return self.channel.wait_for_agent(timeout_s=timeout_s, after=after)

    # Snapshots.

    def save(self, name: str) -> None:
        """Save all of it, memory and disks; it goes on."""
        self._monitor(f"savevm {name}")
        self._boots_in_snapshots[name] = None if self._channel is None else self._channel.boot

    def load(self, name: str) -> None:
        """Go back to what was saved; start QEMU if it does not run."""
        if not self.running:
            self.start(snapshot=name)
            return
        try:
            self._monitor(f"loadvm {name}")
        finally:
            # QEMU stops first, and goes on by itself only if it ran and all went well.
            self.qmp.command("cont")
        if self._channel is not None:
            self._channel.resume(self._boots_in_snapshots[name])

    def _monitor(self, line: str) -> None:
        said = self.qmp.monitor(line).strip()
        if said:
            raise MachineError(f"{line}: {said}")

    # Commands.

    def execute(
        self, command: str, *, stdin: bytes = b"", timeout_s: float = 60
    ) -> tuple[int, str]:
        """Run a command with sh; return its status and what it wrote to standard output."""
        done = self.run(command, stdin=stdin, timeout_s=timeout_s)
        return done.status, done.stdout.decode(errors="replace")

    def run(self, command: str, *, stdin: bytes = b"", timeout_s: float = 60) -> Done:
        """Run a command with sh; return its status, output and errors as bytes."""
        return self.channel.run(command, stdin, timeout_s=timeout_s)

    def succeed(self, *commands: str, timeout_s: float = 60) -> str:
        """Run commands that must end with status 0; return their standard output.

        Raises:
            MachineError: One did not; says what it wrote.
        """
        said = ""
        for command in commands:
            done = self.run(command, timeout_s=timeout_s)
            if done.status != 0:
                raise MachineError(f"{self.name}: {shown(command, done)}")
            said += done.stdout.decode(errors="replace")
        return said

    def fail(self, *commands: str, timeout_s: float = 60) -> str:
        """Run commands that must not end with status 0; return their standard output."""
        said = ""
        for command in commands:
            done = self.run(command, timeout_s=timeout_s)
            if done.status == 0:
                raise MachineError(f"{self.name}: it should fail: {shown(command, done)}")
            said += done.stdout.decode(errors="replace")
        return said

    def wait_until_succeeds(self, command: str, *, timeout_s: float = 120) -> str:
        """Run a command again and again until it ends with status 0; return its output."""
        until = time.monotonic() + timeout_s
        while True:
            left_s = max(until - time.monotonic(), 1)
            done = self.run(command, timeout_s=left_s)
            if done.status == 0:
                return done.stdout.decode(errors="replace")
            if time.monotonic() > until:
                raise MachineError(f"{self.name}: for {timeout_s:g} s, {shown(command, done)}")
            self._pause(0.5)

    def wait_until_fails(self, command: str, *, timeout_s: float = 120) -> None:
        """Run a command again and again until it ends with another status than 0."""
        until = time.monotonic() + timeout_s
        while True:
            done = self.run(command, timeout_s=max(until - time.monotonic(), 1))
            if done.status != 0:
                return
            if time.monotonic() > until:
                raise MachineError(f"{self.name}: after {timeout_s:g} s, {shown(command, done)}")
            self._pause(0.5)

    def wait_for_unit(self, unit: str, *, timeout_s: float = BOOT_S) -> None:
        """Wait until a unit is active.

        Raises:
            MachineError: It failed, there is no such unit, or it is not active in time.
        """
        name = shlex.quote(unit)
        script = f"""
while :; do
    state=$(systemctl is-active {name})
    case "$state" in
    active) exit 0 ;;
    failed) break ;;
    inactive)
        [ "$(systemctl show --value -p LoadState {name})" != not-found ] || break
        # Systemd is through with its start and does not mean to start it.
        case "$(systemctl is-system-running)" in running | degraded)
            [ "$(systemctl is-active {name})" = active ] && exit 0
            [ -n "$(systemctl show --value -p Job {name} | tr -d 0)" ] || break ;;
        esac ;;
    esac
    # Ends when the start does. To ask every half second would be a third of a slow start's work.
    timeout 3 systemctl is-system-running --wait >/dev/null 2>&1
    sleep 0.5
done
systemctl status --no-pager --full --lines=30 {name}
echo "unit {name} is $state"
exit 1
"""
        self.wait_for_agent(timeout_s=timeout_s)
        done = self.run(script, timeout_s=timeout_s)
        if done.status == 124:
            done = self.run(f"systemctl status --no-pager {name}; systemctl list-jobs --no-pager")
            said = done.stdout.decode(errors="replace")
            raise MachineError(f"{self.name}: {unit} is not active after {timeout_s:g} s\n{said}")
        if done.status != 0:
            raise MachineError(f"{self.name}: {done.stdout.decode(errors='replace').strip()}")

    # Files.

    def copy_to(self, source: Path | bytes, target: str, *, mode: int = 0o644) -> None:
        """Put a file, or bytes, into the guest."""
        content = source if isinstance(source, bytes) else source.read_bytes()
        path = shlex.quote(target)
        self.succeed(f": >{path} && chmod {mode:o} {path}")
        for start in range(0, len(content), _CHUNK_BYTES):
            part = content[start : start + _CHUNK_BYTES]
            done = self.run(f"cat >>{path}", stdin=part, timeout_s=120)
            if done.status != 0:
                raise MachineError(f"{self.name}: {shown(f'cat >>{path}', done)}")

    def copy_from(self, source: str, target: Path | None = None) -> bytes:
        """Return a file of the guest, and write it to a path here if there is one."""
        path = shlex.quote(source)
        size = int(self.succeed(f"wc -c <{path}"))
        parts = []
        for number in range(-(-size // _CHUNK_BYTES)):
            script = f"dd if={path} bs={_CHUNK_BYTES} skip={number} count=1 2>/dev/null"
            parts.append(self.run(script, timeout_s=120).stdout)
        content = b"".join(parts)
        if len(content) != size:
            raise MachineError(f"{source} changed while it was read: {len(content)} not {size}")
        if target is not None:
            target.write_bytes(content)
        return content

    def device(self, number: int) -> str:
        """Return the path of a disk in the guest.

        Linux names sda, sdb and so on as its probes end, which is another order now and then.
        """
        bus = self.hardware.disks[number].bus
        if bus is Bus.VIRTIO:
            return f"/dev/vd{'abcdefgh'[number]}"
        if bus is not Bus.IDE:
            raise MachineError(f"nobody knows the names of {bus.value} disks in the guest")
        place = f"/sys/bus/scsi/devices/{number // 2}:0:{number % 2}:0/block"
        name = self.wait_until_succeeds(f"ls {place}").strip()
        self.wait_until_succeeds(f"test -b /dev/{name}")
        return f"/dev/{name}"

    def disk_bytes(self, number: int, offset: int, size_bytes: int) -> bytes:
        """Return bytes of a disk as the guest has written them; QEMU may run."""
        disk = self.hardware.disks[number]
        if self.running:  # Else some of it is in QEMU's memory only.
            self.qmp.monitor(f'qemu-io disk{number} "flush"')
        path, kind = (
            (disk.image, disk.format) if disk.own else (self.files.overlay(number), "qcow2")
        )
        return overlays.read(path, kind, offset, size_bytes)

    # What it shows.

    def wait_for_console_text(self, pattern: str, *, timeout_s: float = BOOT_S) -> str:
        """Wait until the serial console has said what matches; return it."""
        return self._wait_for_text(pattern, self.console.text, "console", timeout_s)

    def wait_for_screen_text(self, pattern: str, *, timeout_s: float = BOOT_S) -> str:
        """Wait until the text screen shows what matches; return it."""
        return self._wait_for_text(pattern, self.screen_text, "screen", timeout_s)

    def _wait_for_text(self, pattern: str, text: object, where: str, timeout_s: float) -> str:
        assert callable(text)
        until = time.monotonic() + timeout_s
        while True:
            found = re.search(pattern, text(), re.MULTILINE)
            if found is not None:
                return found.group()
            if time.monotonic() > until:
                raise MachineError(
                    f"{self.name}: the {where} has not said {pattern!r} in {timeout_s:g} s"
                )
            self._pause(0.2)

    def screen_text(self) -> str:
        """Return what the VGA screen shows in text mode."""
        path = self.files.directory / "screen"
        arguments = {"val": SCREEN_ADDRESS, "size": SCREEN_BYTES, "filename": str(path)}
        self.qmp.command("pmemsave", arguments)
        return decode_screen(path.read_bytes())

    def send_key(self, *keys: str) -> None:
        """Press keys together, by QEMU's names for them, such as ctrl and x."""
        pressed = [{"type": "qcode", "data": key} for key in keys]
        self.qmp.command("send-key", {"keys": pressed})

    def send_console(self, text: str) -> None:
        """Type on the serial console."""
        if self._keyboard is None:
            self._keyboard = self._connect(self.files.console_socket)
        self._keyboard.settimeout(_QMP_S)
        self._keyboard.sendall(text.encode())

    @contextmanager
    def subtest(self, title: str) -> Iterator[None]:
        """Name a part of a test: told with its seconds, and in its failure."""
        began = time.monotonic()
        self._subtests.append(title)
        try:
            yield
        except BaseException as error:
            error.add_note(f"in the part of the test: {' / '.join(self._subtests)}")
            raise
        else:
            print(f"{self.name}: {title}: {time.monotonic() - began:.1f} s")
        finally:
            self._subtests.pop()

    # What runs below.

    @property
    def qmp(self) -> Qmp:
        """Return the connection to QEMU."""
        if self._qmp is None:
            raise MachineError(f"{self.name} is not switched on")
        return self._qmp

    @property
    def channel(self) -> Channel:
        """Return the channel for commands."""
        if self._channel is None:
            raise MachineError(f"{self.name} is not switched on, or has no channel")
        return self._channel

    def failed_writes(self) -> list[Event]:
        """Return the writes that failed so far: proof that an injected fault happened."""
        self._drain()
        return [
            event
            for event in self.events
            if event.name == "BLOCK_IO_ERROR" and event.data["operation"] == "write"
        ]

    def drain_events(self) -> list[Event]:
        """Return all that QEMU told since the machine was made."""
        self._drain()
        return self.events

    def _connect(self, path: Path) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        until = time.monotonic() + _QMP_S
        while True:
            try:
                connection.connect(str(path))
                return connection
            except (FileNotFoundError, ConnectionRefusedError):
                if not self.running:
                    raise MachineError(f"QEMU did not start: {self._said()}") from None
                if time.monotonic() > until:
                    raise MachineError(f"QEMU does not open {path.name}") from None
                time.sleep(0.01)

    def _said(self) -> str:
        path = self.files.said
        return path.read_text(errors="replace").strip() if path.exists() else ""

    def _pause(self, seconds: float) -> None:
        self._tick()
        time.sleep(seconds)

    def _tick(self) -> None:
        if not self.running:
            raise MachineError(f"{self.name} ended while the test waited for it {self._said()}")
        self._look_at_the_console()
        self._drain()

    def _drain(self) -> None:
        if self._keyboard is not None:
            # It stays open, as QEMU forgets what it has not read of a closed one; and it must be
            # read, or the guest's console comes to a stop. The text is in the log anyway.
            self._keyboard.setblocking(False)
            with suppress(OSError):
                while self._keyboard.recv(1 << 16):
                    pass
        if self._qmp is not None:
            try:
                self.events += self._qmp.events()
            except QmpError:
                return  # QEMU ended; whoever waits for it finds out.

    def _look_at_the_console(self) -> None:
        if self._watch and (bad := self.console.bad_lines()):
            raise MachineError(f"{self.name}: the console says: " + "\n".join(bad))

    def _forget(self) -> None:
        for connection in (self._qmp, self._channel, self._keyboard):
            if connection is not None:
                connection.close()
        self._qmp = self._channel = self._keyboard = None

    def _explain(self, error: BaseException) -> None:
        """Keep the artefacts, and name them in the exception."""
        texts = {"console.txt": self.console.text()}
        if self._command is not None:
            texts["qemu.txt"] = f"{self._command}\n{self._said()}\n"
        try:
            if self.running:
                texts["screen.txt"] = self.screen_text() + "\n"
        except (QmpError, MachineError, OSError) as failure:
            texts["screen.txt"] = f"not to be had: {failure}\n"
        disks = [self.files.overlay(number) for number in range(len(self.hardware.disks))]
        kept = artefacts.keep(self.name, texts, [self.files.qmp_log], disks)
        named = "\n".join(f"    {path}" for path in kept)
        error.add_note(f"the last the console of {self.name} said:\n{self.console.tail()}")
        error.add_note(f"kept of {self.name}:\n{named}")


def shown(command: str, done: Done) -> str:
    """Return how a command ended, for a message."""
    said = (done.stdout + done.stderr).decode(errors="replace").strip()
    return f"{command.strip()!r} ended with status {done.status}" + (f"\n{said}" if said else "")
