"""A virtual machine of QEMU: a bare Debian 12 with a management NIC, and data NICs behind a virtual IOMMU.

Its networks are QEMU's own (slirp): on each the host's loopback is at .2, and nothing of this machine is
changed. The disk is made once (``make_image``) and copied for every machine. With ``$BOOKWIRE_VM_KEEP`` the
machine outlives the run, in ``build/vm/kept``, and the next run goes on with it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
IMAGE = ROOT / "build" / "vm"
KEPT = IMAGE / "kept"
KEEP = bool(os.environ.get("BOOKWIRE_VM_KEEP"))
FIRST_SLOT = 0x10  # of the data NICs on the PCI bus
START_S = 1500.0  # to SSH, where all is interpreted: 3 to 5 min at a load of 25, 8 and more at 35
CORES = 5
MEMORY_MIB = 4096
ISOLATED = "2-4"  # two are left to everything else
YIELDING = 10  # nice of the isolated: they never rest, and a login must not wait for them
BOOT_ID = "/proc/sys/kernel/random/boot_id"
QUIET = ("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR")
# Commands share a connection, as a login takes long; one that a reboot left silent ends after a minute.
SHARED = ("-o", "ControlMaster=auto", "-o", "ControlPersist=300", "-o", "ServerAliveInterval=20")


@dataclass(frozen=True)
class DataNic:
    """The ``at``-th data NIC: its PCI address in the machine, its address, and the host's as seen by it."""

    at: int

    @property
    def pci(self) -> str:
        return f"0000:00:{FIRST_SLOT + self.at:02x}.0"

    @property
    def address(self) -> str:
        return f"10.96.{self.at}.15/24"

    @property
    def host(self) -> str:
        return f"10.96.{self.at}.2"


@dataclass
class Vm:
    """One machine: ``start`` to ``stop``; its console goes to ``serial.log`` beside its disk."""

    directory: Path
    data_nics: int
    ssh_port: int
    forwards: dict[int, int] = field(default_factory=dict)  # port of the host's loopback: the machine's
    process: subprocess.Popen[bytes] | None = None  # None also where an earlier run started it
    keep: bool = False

    def start(self, *, with_kernel: bool = False) -> float:
        """Boots it, by its own GRUB or by ``-kernel``. Returns seconds until SSH answers."""
        began = time.monotonic()
        disk = f"file={self.directory / 'disk.img'},if=virtio,format=raw,cache=unsafe"
        command = [
            *(() if self.keep else ("setpriv", "--pdeathsig", "KILL")),
            *("qemu-system-x86_64", "-name", "box,debug-threads=on", "-machine", "q35,kernel-irqchip=split"),
            *("-accel", *accelerator(), "-cpu", "max", "-smp", str(CORES), "-m", str(MEMORY_MIB)),
            # 48 bits: else DPDK wants physical addresses, which only root may see
            *("-device", "intel-iommu,intremap=on,caching-mode=on,aw-bits=48"),
            *("-drive", disk, "-display", "none", "-serial", f"file:{self.directory / 'serial.log'}"),
            *("-object", "rng-random,id=rng0,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng0"),
            *("-pidfile", str(self.directory / "pid")),
            *self._networks(),
        ]
        if with_kernel:
            command += [
                *("-kernel", str(IMAGE / "vmlinuz"), "-initrd", str(IMAGE / "initrd.img")),
                *("-append", "root=/dev/vda rw console=ttyS0 mitigations=off"),
            ]
        with (self.directory / "qemu.log").open("w") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=self.keep
            )
        self.wait(began + START_S)
        self._let_isolated_yield(self.process.pid)
        return time.monotonic() - began

    @staticmethod
    def _let_isolated_yield(pid: int) -> None:
        """The machine's isolated cores spin: they get what the others, and this host, leave of its cores."""
        first, last = map(int, ISOLATED.split("-"))
        for thread in Path(f"/proc/{pid}/task").iterdir():
            core = re.match(r"CPU (\d+)/", (thread / "comm").read_text())
            if core and first <= int(core[1]) <= last:
                os.setpriority(os.PRIO_PROCESS, int(thread.name), YIELDING)

    def _networks(self) -> list[str]:
        forwards = {self.ssh_port: 22} | self.forwards
        host = ",".join(f"hostfwd=tcp:127.0.0.1:{mine}-:{its}" for mine, its in forwards.items())
        found = ["-netdev", f"user,id=m0,{host}"]
        found += ["-device", "virtio-net-pci,netdev=m0,mac=52:54:00:00:00:01"]
        for nic in map(DataNic, range(self.data_nics)):
            found += ["-netdev", f"user,id=d{nic.at},net=10.96.{nic.at}.0/24"]
            device = f"virtio-net-pci,netdev=d{nic.at},mac=52:54:00:00:01:{nic.at:02x}"
            found += [
                "-device",
                f"{device},disable-legacy=on,iommu_platform=on,addr={FIRST_SLOT + nic.at:#x}",
            ]
        return found

    def wait(self, until: float) -> None:
        """Until SSH answers. Raises TimeoutError with the console's last words."""
        while time.monotonic() < until:
            if self.process is not None and self.process.poll() is not None:
                raise RuntimeError(f"QEMU ended: {(self.directory / 'qemu.log').read_text()[-2000:]}")
            if self.ssh("true", check=False, timeout=30.0) is not None:
                return
            time.sleep(1.0)  # nothing tells when a port of a machine opens
        console = (self.directory / "serial.log").read_text(errors="replace")
        raise TimeoutError(f"no SSH: {console[-2000:]}")

    def ssh(self, command: str, *, check: bool = True, timeout: float = 300.0) -> str | None:
        """What the command says; None where it fails and need not succeed."""
        try:
            done = subprocess.run(
                [*self._login(), "-o", "ConnectTimeout=20", "root@127.0.0.1", command],
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            if check:
                raise
            return None
        if done.returncode == 0:
            return done.stdout
        if check:
            raise AssertionError(f"{command}: {done.returncode}\n{done.stdout}{done.stderr}")
        return None

    def _login(self) -> list[str]:
        way = f"ControlPath={self.directory / 'ssh'}"
        return ["ssh", "-i", str(IMAGE / "key"), "-p", str(self.ssh_port), *QUIET, *SHARED, "-o", way]

    def _leave(self) -> None:
        """Ends the connection that commands share."""
        subprocess.run([*self._login(), "-O", "exit", "root@127.0.0.1"], capture_output=True, check=False)

    def said(self, command: str) -> str:
        """As ``ssh``, what it says without the last line's end."""
        return (self.ssh(command) or "").strip()

    def give(self, path: str, text: str) -> None:
        """Writes a file there."""
        self.ssh(f"mkdir -p $(dirname {path})\ncat >{path} <<'END'\n{text.rstrip()}\nEND\nchmod 644 {path}")

    def wait_for_reboot(self, before: str, until: float) -> None:
        """Until SSH answers from another start than the one of ``before``, its boot_id."""
        self._leave()
        while time.monotonic() < until:
            boot = self.ssh(f"cat {BOOT_ID}", check=False, timeout=30.0)
            if boot is not None and boot.strip() != before:
                return
            time.sleep(1.0)
        raise TimeoutError("the machine did not start again")

    def stop(self) -> None:
        """Down in good order, or else killed; left running where machines are kept."""
        if self.keep:
            way = f"ssh -i {IMAGE / 'key'} -p {self.ssh_port} root@127.0.0.1"
            print(f"\nthe machine runs on in {self.directory}: {way}; `poweroff` there ends it", flush=True)
            return
        if self.process is None:
            return
        self.ssh("systemctl poweroff", check=False, timeout=30.0)
        self._leave()
        try:
            self.process.wait(90)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None


def accelerator() -> Sequence[str]:
    """KVM where it is said to work, else the interpreter: $BOOKWIRE_VM_ACCEL."""
    wanted = os.environ.get("BOOKWIRE_VM_ACCEL", "tcg")
    return ("tcg,thread=multi,tb-size=512",) if wanted == "tcg" else (wanted,)


def make_image() -> dict[str, float]:
    """The disk, bootable by itself, where there is none yet. Returns seconds a step."""
    if (IMAGE / "made").exists():
        return {}
    began = time.monotonic()
    IMAGE.mkdir(parents=True, exist_ok=True)
    with (IMAGE / "make_image.log").open("w") as log:
        subprocess.run(["nice", str(HERE / "make_image"), str(IMAGE)], stdout=log, stderr=log, check=True)
    made_s = time.monotonic() - began
    first = Vm(IMAGE, 0, 2222)
    booted_s = first.start(with_kernel=True)
    try:
        first.ssh("grub-install --force /dev/vda && update-grub && sync", timeout=600)
    finally:
        first.stop()
    (IMAGE / "made").touch()
    whole_s = time.monotonic() - began
    return {"file tree and disk": made_s, "first boot": booted_s, "GRUB": whole_s - made_s - booted_s}


def new(directory: Path, data_nics: int, ssh_port: int, forwards: dict[int, int]) -> Vm:
    """A machine with a fresh copy of the disk."""
    copy = ["cp", "--sparse=always", "--reflink=auto", str(IMAGE / "disk.img"), str(directory / "disk.img")]
    subprocess.run(copy, check=True)
    if KEEP:
        (directory / "ports.json").write_text(json.dumps([ssh_port, *forwards.items()]))
    return Vm(directory, data_nics, ssh_port, forwards, keep=KEEP)


def kept(data_nics: int) -> Vm | None:
    """The machine that an earlier run left running. Where none runs, what is left of it is taken away."""
    if not KEEP:
        return None
    pid = (KEPT / "pid").read_text().strip() if (KEPT / "pid").exists() else "none"
    if Path("/proc", pid).exists():
        ssh_port, *forwards = json.loads((KEPT / "ports.json").read_text())
        found = Vm(KEPT, data_nics, ssh_port, dict(forwards), keep=True)
        found.wait(time.monotonic() + START_S)
        return found
    shutil.rmtree(KEPT, ignore_errors=True)
    KEPT.mkdir(parents=True)
    return None
