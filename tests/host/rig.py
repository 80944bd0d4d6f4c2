# SPDX-License-Identifier: BSD-2-Clause
"""What the tests that boot the kernel on a volume of their own have in common: TAP, volumes, one run."""

import os
import random
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
import tap  # noqa: E402
from volume import Failure, command, debugfs, mke2fs, tool  # noqa: E402
from volume import problems_of as check  # noqa: E402

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
KERNEL = os.environ.get("FAULTLINE_KERNEL", os.path.join(TOP, "build", "kernel.elf"))
SOAK = bool(os.environ.get("SOAK"))
DRIVES = ("virtio", "virtio4k", "ata", "pio", "ahci")    # where a disk can hang; see drive_options()
DRIVE = os.environ.get("DRIVE") or "virtio"
BIG_SECTORS = ("--qemu", "-global virtio-blk-pci.logical_block_size=4096 -global virtio-blk-pci.physical_block_size=4096")
if not (os.environ.get("SEED") or "0").isdigit():
    sys.exit(f"SEED={os.environ['SEED']}: must be a number")
SEED = int(os.environ.get("SEED") or random.randrange(1, 1 << 31))


class Rig:
    """Collects a script's tests, runs them in order and prints TAP.  A test fails by raising.

    A test's name may be that of the kernel's test that it runs, so that the runner sees that one exercised.
    """

    def __init__(self, name):
        self.name, self.tests = name, []
        self.scratch = tempfile.TemporaryDirectory(prefix=f"faultline-{name}-")

    def path(self, name):
        return os.path.join(self.scratch.name, name)

    def add(self, name, function, *args):
        self.tests.append((name, function, args))

    def evidence(self, name, data):
        """Keep what a failure leaves behind -> where."""
        folder = os.path.join(TOP, "build", "evidence", self.name)
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, name), "wb") as f:
            f.write(data)
        return os.path.relpath(os.path.join(folder, name), TOP)

    def main(self):
        print(f"TAP version 13\n# seed {SEED}\n1..{len(self.tests)}", flush=True)
        failed = 0
        for n, (name, function, args) in enumerate(self.tests, 1):
            try:
                function(*args)
                print(f"ok {n} - {name}", flush=True)
            except (AssertionError, Failure, OSError, subprocess.SubprocessError) as e:
                failed += 1
                print(f"not ok {n} - {name}")
                for line in (str(e) or type(e).__name__).splitlines()[:60]:
                    print(f"# {line}")
                print(f"# reproduce: DRIVE={DRIVE} SEED={SEED} python3 tests/host/{os.path.basename(sys.argv[0])}", flush=True)
        print(f"{len(self.tests) - failed} passed, {failed} failed")
        return 1 if failed else 0


def drive_options(drive):
    """boot/qemu's words for it: ata is ATA on pc (IDE by DMA), pio the same without DMA, ahci ATA on q35; virtio4k has large sectors."""
    return {"ahci": ["--drive", "ata", "--machine", "q35"], "virtio4k": ["--drive", "virtio", *BIG_SECTORS]}.get(drive, ["--drive", drive])


def disk_name(number, drive=DRIVE):
    """What the kernel calls the disk; 0 is the first."""
    return ("vd" if drive.startswith("virtio") else "sd") + "abcdefghijkl"[number]


def block_sizes(sizes, drive=DRIVE):
    """Those that a volume can have there: a block is at least a sector."""
    return [bs for bs in sizes if drive != "virtio4k" or bs >= 4096]


def boot(rig, disk, *words, options=(), timeout=120, drive=DRIVE):
    """Run the kernel on a disk (with boot/qemu's words for it) -> (status, what it said)."""
    done = subprocess.run([os.path.join(TOP, "boot", "qemu"), "--kernel", KERNEL, "--log", rig.path("qemu.log"),
                           "--timeout", str(timeout), *drive_options(drive), *options, "--disk", disk, "--", *words],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=timeout + 60)
    return done.returncode, done.stdout.decode(errors="replace").replace("\r", "")


def must_pass(status, serial):
    """The run's own tests all passed, and nothing else went wrong."""
    v = tap.judge(serial, status)
    if v.good and v.passed:
        return
    lines = v.problems[:]
    for name, _ in v.failed:
        lines.append(f"{name} failed")
    if v.failed:
        lines += [line for line in serial.splitlines() if line.startswith("# ") and not line.startswith("# pc ")][:40]
    if v.problems:
        lines += serial.strip().splitlines()[-30:]
    if not v.passed and not lines:
        lines = ["the kernel skipped what it should run: " + ", ".join(v.skipped)] + serial.splitlines()[-10:]
    raise AssertionError("\n".join(lines))


def make_volume(image, bs, size, folders=(), stain=True):
    """An ext2 volume with some folders.  stain: its free blocks hold bytes that no test may ever see."""
    with tempfile.TemporaryDirectory(prefix="faultline-volume-") as host:
        for folder in folders:
            os.makedirs(os.path.join(host, folder))
        mke2fs(image, bs, size, host)
        if stain:
            free = int(next(line for line in debugfs(image, "stats -h").splitlines()
                            if line.startswith("Free blocks")).split()[-1])
            filler = os.path.join(host, "filler")
            with open(filler, "wb") as f:
                f.write(b"stale!\xdb\xdb" * ((free - free // 50 - 8) * bs // 8))
            debugfs(image, f"write {filler} filler", "rm filler", write=True)


def repair(image):
    """e2fsck as at boot, then a check that finds nothing more.  Sentences of what needed a human."""
    done = subprocess.run([tool("e2fsck"), "-p", image], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", stdin=subprocess.DEVNULL)
    if done.returncode not in (0, 1):
        return [f"e2fsck -p ended with {done.returncode}:"] + done.stdout.strip().splitlines()[-6:]
    return check(image)


def read_files(image, paths, scratch):
    """The files that exist -> {path: bytes}."""
    outs = {p: os.path.join(scratch, p.strip("/").replace("/", "_")) for p in paths}
    for out in outs.values():
        if os.path.exists(out):
            os.unlink(out)
    requests = "".join(f"dump {p} {out}\n" for p, out in outs.items())
    subprocess.run([tool("debugfs"), "-f", "/dev/stdin", image], input=requests, stdout=subprocess.PIPE,
                   stderr=subprocess.PIPE, text=True, errors="replace")
    found = {}
    for p, out in outs.items():
        if os.path.exists(out):
            with open(out, "rb") as f:
                found[p] = f.read()
    return found


__all__ = ["BIG_SECTORS", "DRIVE", "DRIVES", "KERNEL", "SEED", "SOAK", "TOP", "Rig", "block_sizes", "boot", "check", "command", "disk_name", "drive_options",
           "make_volume", "must_pass", "read_files", "repair"]
