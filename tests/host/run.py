#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Run Faultline's tests: `make test`, or with --soak every combination, `make soak`.

A job is one run of boot/qemu (or of a script below tests/) with a log of its own in
build/test/JOB/.  Jobs run side by side, one more than the host has CPUs.  tap.py judges each log
against its exit status.  The last line printed is `N passed, N failed`.

The environment narrows the work: TEST=GLOB keeps the matching self-tests (host.*, gdb.* and
harness.* name scripts), SEED=N fixes their order, and any of BOOT, MACHINE, DRIVE, MEM, CPU, BS and SMP
replaces the matrix by the single run that it describes.  SAN says how build/kernel.elf was made.  WATCHED_KERNEL
names a second kernel, made with SAN=ubsan,race: for one more run of the suite, and for the suites that are about races.
"""

import concurrent.futures
import fnmatch
import glob
import itertools
import os
import random
import re
import shlex
import shutil
import subprocess
import sys
import time
import typing

sys.dont_write_bytecode = True
import damage  # noqa: E402
import mkimage  # noqa: E402
import tap  # noqa: E402
from rig import DRIVES, block_sizes, disk_name, drive_options  # noqa: E402
from volume import problems_of  # noqa: E402

TOP = mkimage.TOP
IMAGES = os.path.join(TOP, "build", "images")
WORK = os.path.join(TOP, "build", "test")
TIMEOUT_SECONDS = 1500 if os.environ.get("SAN") in ("kasan", "1") else 600      # every access is checked by a call
SOAK_SCRIPT_TIMEOUT_SECONDS = 4 * 3600
DAMAGE_TIMEOUT_SECONDS = 240
DAMAGE_SOAK_RUNS = 20   # disks with many damaged volumes
WORKERS = 1 + (os.cpu_count() or 1)     # a guest often waits for its clock
TAIL_LINES = 40
SCRATCH_BYTES = 64 << 20


class Machine(typing.NamedTuple):
    """What the suite runs on.  A field's name in capitals is the variable of `make test` that sets it."""
    boot: str = "pvh"
    machine: str = "pc"
    drive: str = "virtio"   # the disks' bus
    mem: str = "256M"
    cpu: str = "max"
    bs: int = 4096          # block size of the test volume
    smp: int = 1            # number of CPUs
    torture: int = 0        # 1: every page is evicted as soon as it can be
    yields: int = 0         # 1: threads are made to give way at locks

    def options(self):
        """boot/qemu's words for it."""
        return ["--boot", self.boot, "--machine", self.machine, *drive_options(self.drive), "--mem", self.mem, "--cpu", self.cpu,
                "--smp", str(self.smp)]

    def __str__(self):
        return (" ".join(map(str, self[:-3])) + (f" {self.smp} CPUs" if int(self.smp) > 1 else "")
                + (" torture" if self.torture else "") + (" yields" if self.yields else ""))


# Every value of every field occurs in MATRIX; `make soak` runs the product of DIMENSIONS.
# Running out of memory takes as long as there is memory: 256M is for one of them.
MATRIX = [Machine(), Machine(cpu="qemu64", mem="64M", bs=1024), Machine(boot="bios", drive="ata", mem="64M", bs=2048, smp=2),
          Machine(machine="q35", drive="virtio4k", mem="16M", bs=8192, smp=4), Machine(mem="8M", bs=65536),
          Machine(boot="uefi", drive="pio", mem="64M"), Machine(boot="efi", machine="q35", drive="ata", mem="64M", smp=2),
          Machine(mem="16M", torture=1)]
DIMENSIONS = {"boot": ("pvh", "bios", "uefi", "efi"), "machine": ("pc", "q35"), "drive": ("virtio", "virtio4k", "ata", "pio"), "mem": ("256M", "16M", "8M"),
              "cpu": ("max", "qemu64"), "bs": mkimage.BLOCK_SIZES, "smp": (1, 2, 4), "torture": (0, 1), "yields": (0,)}
# The suites that are about races, once more with forced yield points and watched for races.
YIELD_RUNS = [("races.*", 4), ("wirerace.*", 1), ("fakepager.*", 2), ("storm.*", 2)]
WATCHED_RUN = Machine(mem="64M", bs=1024)
LITTLE = ("8M", "16M")  # less than UEFI firmware can work with
KASAN_MIN = "64M"       # shadow and red zones take their part of less
READ_ONLY_RUN = MATRIX[1]       # its root volume is mounted read-only
IOERR_RUNS = ((1024, "virtio"), (4096, "virtio"), (4096, "ata"), (1024, "pio"), (1024, "ahci"))
# Scripts that `make soak` runs once for each place where a disk can hang: they take DRIVE.
BY_DRIVE = ("host.mount", "host.volumes", "host.write")
# Scripts that take BS and DRIVE, and run long for each; where the disks of each block size hang.
BY_BLOCK_SIZE = {"host.fsx": {1024: "virtio", 2048: "pio", 4096: "virtio", 8192: "ahci", 65536: "ata"}}
RESTRICTIONS = tuple(f.upper() for f in Machine._fields)


class Job:
    """
    One run.  `image` is copied for it, so that a run may write and leaves evidence behind; with `companions` a
    read-only disk (on ATA, which has none, one that forgets what is written) and a scratch disk, which tests may
    overwrite, follow it.
    """

    def __init__(self, name, options=(), words=(), image=None, rules=None, script=None, timeout=TIMEOUT_SECONDS,
                 matrix=None, companions=False, kernel=None, env=None):
        self.name, self.options, self.words = name, list(options), list(words)
        self.env = env or {}    # of a script, besides our own
        self.image, self.rules, self.script, self.timeout, self.matrix = image, rules, script, timeout, matrix
        self.companions = companions
        self.kernel = kernel    # not build/kernel.elf but one made with SAN=ubsan,race
        self.dir = os.path.join(WORK, re.sub(r"[^A-Za-z0-9_.-]", "_", name))
        self.verdict, self.seconds = None, 0.0
        self.serial = self.stderr = ""

    def command(self):
        if self.script:
            return [sys.executable, self.script]
        disk = os.path.join(self.dir, "disk.img") + (f",blkdebug={self.rules}" if self.rules else "")
        more = []
        if self.companions:
            keeps = ",ro" if self.matrix.drive.startswith("virtio") else ",snapshot"
            more = ["--disk", self.image + keeps, "--disk", os.path.join(self.dir, "scratch.img")]
        kernel = ["--kernel", self.kernel] if self.kernel else []
        return [os.path.join(TOP, "boot", "qemu"), *kernel, *self.options, "--timeout", str(self.timeout),
                "--log", os.path.join(self.dir, "qemu.log"), "--disk", disk, *more, "--", *self.words]

    def run(self):
        shutil.rmtree(self.dir, ignore_errors=True)
        os.makedirs(self.dir)
        if self.image:
            subprocess.run(["cp", "--sparse=always", self.image, os.path.join(self.dir, "disk.img")], check=True)
        if self.companions:
            with open(os.path.join(self.dir, "scratch.img"), "wb") as f:
                f.write(b"FAULTLINE SCRATCH")
                f.truncate(SCRATCH_BYTES)
        started = time.monotonic()
        serial, stderr = os.path.join(self.dir, "serial.log"), os.path.join(self.dir, "stderr.log")
        with open(serial, "wb") as out, open(stderr, "wb") as err:
            try:
                # The launcher keeps the time itself; this limit catches a launcher or a script that hangs.
                status = subprocess.run(self.command(), stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=TOP,
                                        env={**os.environ, **self.env},
                                        timeout=self.timeout + (60 if not self.script else 0)).returncode
            except subprocess.TimeoutExpired:
                status = 124
        self.seconds = time.monotonic() - started
        self.serial, self.stderr = read_text(serial), read_text(stderr)
        self.verdict = tap.judge(self.serial, status, closing_line=not self.script)
        if self.verdict.good and self.companions:
            # The run ended in order, so its root volume must be whole.
            self.verdict.problems += problems_of(os.path.join(self.dir, "disk.img"))
        if self.verdict.good and self.image:
            for name in ("disk.img", "scratch.img"):
                if os.path.exists(os.path.join(self.dir, name)):
                    os.unlink(os.path.join(self.dir, name))

    def reproduction(self, name):
        """The shell line that repeats this failure."""
        if self.script:
            return " ".join([*(f"{k}={v}" for k, v in self.env.items()), "python3", os.path.relpath(self.script, TOP)])
        words = [f"selftest={name}" if w.split("=")[0] == "selftest" and name else w for w in self.words]
        if self.matrix:
            parts = [f"{field.upper()}={value}" for field, value in self.matrix._asdict().items()]
            parts += [f"SEED={w[5:]}" for w in words if w.startswith("seed=")]
            if self.kernel or os.environ.get("SAN"):
                parts.append("SAN=ubsan,race" if self.kernel else f"SAN={os.environ['SAN']}")
            glob_word = [w[9:] for w in words if w.startswith("selftest=")]
            parts += [f"TEST={shlex.quote(g)}" for g in glob_word]
            return "make test " + " ".join(parts)
        command = self.command()
        command = command[:command.index("--") + 1] + words
        return shlex.join(os.path.relpath(w, TOP) if w.startswith(TOP) else w.replace(TOP + "/", "") for w in command)


def read_text(path):
    with open(path, encoding="utf-8", errors="replace") as f:
        return f.read().replace("\r", "")


# ---- the list of jobs -----------------------------------------------------------------------------

def fresh(path, make, *sources):
    """Make an image unless it is newer than the scripts that make it."""
    here = os.path.dirname(os.path.abspath(__file__))
    newest = max(os.path.getmtime(os.path.join(here, s)) for s in sources)
    if not os.path.exists(path) or os.path.getmtime(path) <= newest:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        make(path)
    return path


def volume(bs):
    return fresh(os.path.join(IMAGES, f"test-{bs}.img"), lambda out: mkimage.build_test(bs, out),
                 "mkimage.py", "volume.py")


def suite_job(machine, test, seed, kernel=None):
    options = machine.options()
    if os.environ.get("ACCEL"):
        options += ["--accel", os.environ["ACCEL"]]
    words = [f"selftest={test}" if test else "selftest", f"seed={seed}", "paths"]
    if machine.torture:
        words.append("torture")
    if machine.yields:
        words.append(f"yields={seed}")
    if machine == READ_ONLY_RUN:
        words.append("ro")
    name = ("watched " if kernel else "") + str(machine) + (f" {test}" if test else "")
    return Job(name, options, words, image=volume(machine.bs), timeout=TIMEOUT_SECONDS * (5 if machine.yields else 1),
               matrix=machine, companions=True, kernel=kernel)


def ioerr_job(bs, drive, test, seed):
    image = volume(bs)
    rules = fresh(os.path.join(IMAGES, f"test-{bs}.rules"), lambda out: mkimage.build_blkdebug(image, out),
                  "mkimage.py", "volume.py", os.path.relpath(image, os.path.dirname(os.path.abspath(__file__))))
    return Job(f"ioerr {bs} {drive}", drive_options(drive), [f"selftest={test}", f"seed={seed}", "ioerr"], image=image, rules=rules)


def damage_jobs(test, seed, drives):
    """One boot for each known damage, with the damaged volume as root; and some with many volumes at random, beside a healthy root."""
    images = damage.build_all(os.path.join(IMAGES, "damage"))
    jobs = [Job(f"damage {name} {drive}", drive_options(drive),
                [f"selftest={test}", f"seed={seed}", f"damage={expected}", f"volume={disk_name(0, drive)}"], image=path,
                timeout=DAMAGE_TIMEOUT_SECONDS) for drive in drives for name, expected, path in images]
    for n in range(DAMAGE_SOAK_RUNS if os.environ.get("SOAK") else 1):
        many = os.path.join(IMAGES, "damage", f"many-{n}.img")
        damage.build_many(many, int(seed) + n)
        jobs += [Job(f"damage at random {n} {drive}", [*drive_options(drive), "--disk", many + ",snapshot"],
                     [f"selftest={test}", f"seed={int(seed) + n}", "damage=any", f"root={disk_name(1, drive)}",
                      f"volume={disk_name(0, drive)}"], image=images[0][2]) for drive in drives]
    return jobs


def script_jobs(test):
    """harness_test.py and every test_*.py below tests/host and tests/gdb; long ones in parts that run side by side."""
    found = [("harness.self", os.path.join(TOP, "tests", "host", "harness_test.py"))]
    for room in ("host", "gdb"):
        for path in sorted(glob.glob(os.path.join(TOP, "tests", room, "test_*.py"))):
            found.append((f"{room}.{os.path.basename(path)[5:-3]}", path))
    limit = SOAK_SCRIPT_TIMEOUT_SECONDS if os.environ.get("SOAK") else TIMEOUT_SECONDS
    return [Job(" ".join([name, *part.values()]), script=path, timeout=limit, env=part) for name, path in found
            if test is None or fnmatch.fnmatchcase(name, test) for part in parts_of(name)]


def parts_of(name):
    """What to put into the environment of each part of a script."""
    every_drive = os.environ.get("SOAK") and not os.environ.get("DRIVE")
    if name in BY_DRIVE and every_drive:
        return [{"DRIVE": drive} for drive in DRIVES]
    if name not in BY_BLOCK_SIZE or os.environ.get("BS"):
        return [{}]
    if every_drive:
        return [{"BS": str(bs), "DRIVE": drive} for drive in DRIVES for bs in block_sizes(mkimage.BLOCK_SIZES, drive)]
    return [{"BS": str(bs), "DRIVE": os.environ.get("DRIVE") or drive} for bs, drive in BY_BLOCK_SIZE[name].items()]


def with_room(matrix):
    """The matrix with enough memory for the kernel's sanitizer, each combination once."""
    if os.environ.get("SAN") not in ("kasan", "1"):
        return list(matrix)
    return list(dict.fromkeys(m._replace(mem=KASAN_MIN) if m.mem in LITTLE else m for m in matrix))


def may_match(test, suite):
    """Could the glob select tests of this suite?"""
    return fnmatch.fnmatchcase(suite, test.split(".")[0])


def plan_jobs(test, seed, soak):
    """All jobs -> (list, whether everything that `make test` can exercise is in it)."""
    restricted = {k: os.environ[k] for k in RESTRICTIONS if os.environ.get(k)}
    own_runs = test is not None and any(may_match(test, s) for s in ("damage", "ioerr")) and "*" not in test.split(".")[0]
    scripts = test is not None and re.match(r"(host|gdb|harness)\.", test)
    if scripts:
        return script_jobs(test), False
    if restricted and not own_runs:
        fields = {k.lower(): v for k, v in restricted.items()}
        bs = fields.get("bs", "4096")
        if not bs.isdigit() or int(bs) not in mkimage.BLOCK_SIZES:
            raise mkimage.Failure(f"BS={bs}: must be one of {', '.join(map(str, mkimage.BLOCK_SIZES))}")
        torture = fields.get("torture", "0")
        if torture not in ("0", "1"):
            raise mkimage.Failure(f"TORTURE={torture}: must be 0 or 1")
        yields = fields.get("yields", "0")
        if yields not in ("0", "1"):
            raise mkimage.Failure(f"YIELDS={yields}: must be 0 or 1")
        smp = fields.get("smp", "1")
        if not smp.isdigit() or not 1 <= int(smp) <= 8:
            raise mkimage.Failure(f"SMP={smp}: must be a number from 1 to 8")
        numbers = {"bs": int(bs), "smp": int(smp), "torture": int(torture), "yields": int(yields)}
        return [suite_job(Machine(**{**fields, **numbers}), test, seed)], False
    matrix = MATRIX
    if soak:
        matrix = [Machine(*values) for values in itertools.product(*(DIMENSIONS[f] for f in Machine._fields))]
        matrix = [m for m in matrix if (m.boot not in ("uefi", "efi") or m.mem not in LITTLE) and block_sizes([m.bs], m.drive)]
    # In a soak each run has an order of its own.
    jobs = [] if own_runs else [suite_job(machine, test, str(int(seed) + (i if soak else 0)))
                                for i, machine in enumerate(with_room(matrix))]
    watched = os.environ.get("WATCHED_KERNEL") and os.path.join(TOP, os.environ["WATCHED_KERNEL"])
    if not own_runs and watched:
        jobs.append(suite_job(WATCHED_RUN, test, seed, watched))
    if test is None:
        runs = [("*", cpus) for cpus in DIMENSIONS["smp"]] if soak else YIELD_RUNS
        jobs += [suite_job(Machine(smp=cpus, yields=1), suite, seed, watched) for suite, cpus in runs]
        jobs += script_jobs(None)
    drives = [restricted["DRIVE"]] if "DRIVE" in restricted else DRIVES if soak else ("virtio",)
    # The many short ones last: they keep every worker busy to the end.
    if test is None or may_match(test, "ioerr"):
        runs = IOERR_RUNS
        if soak or "DRIVE" in restricted:
            runs = [(bs, drive) for drive in drives for bs in block_sizes(mkimage.BLOCK_SIZES, drive)]
        jobs += [ioerr_job(bs, drive, test if own_runs else "ioerr.*", seed) for bs, drive in runs]
    if test is None or may_match(test, "damage"):
        jobs += damage_jobs(test if own_runs else "damage.*", seed, [d for d in drives if block_sizes([damage.BS], d)])
    return jobs, test is None


# ---- running and reporting ------------------------------------------------------------------------

def report_line(job, done, total):
    v = job.verdict
    counts = f"{len(v.passed)} passed, {len(v.failed) + len(v.problems)} failed"
    if v.skipped:
        counts += f", {len(v.skipped)} skipped"
    print(f"[{done}/{total}] {'ok    ' if v.good else 'FAILED'} {job.name}: {counts} ({job.seconds:.1f} s)", flush=True)


def report_failures(job):
    v = job.verdict
    if v.good:
        return
    print(f"\n---- {job.name}")
    for sentence in v.problems:
        print(f"not ok - {job.name}: {sentence}")
    for name, diagnostics in v.failed:
        print(f"not ok - {name}")
        for line in diagnostics[:20]:
            print(f"    {line}")
        print(f"    reproduce: {job.reproduction(name)}")
    if v.problems:
        for line in job.stderr.strip().splitlines()[-TAIL_LINES:]:
            print(f"  stderr | {line}")
        for line in job.serial.strip().splitlines()[-TAIL_LINES:]:
            print(f"  serial | {line}")
        print(f"    reproduce: {job.reproduction(None)}")
    print(f"    logs: {os.path.relpath(job.dir, TOP)}/", flush=True)


PATH_LINE = re.compile(r"^# path (\S+) (\S+) (\d+)$", re.MULTILINE)


def paths_never_passed(jobs):
    """Marked code paths of the VM (vm/vm_path.h) that no run reached -> ["NAME (FILE:LINE)"], sorted."""
    passed = {}
    for job in jobs:
        for name, place, count in PATH_LINE.findall(job.serial):
            passed[f"{name} ({place})"] = passed.get(f"{name} ({place})", 0) + int(count)
    return sorted(path for path, count in passed.items() if count == 0)


def totals(jobs, full):
    """Sum up -> (passed, failed, skipped); a test or a path that every job left out was never exercised."""
    passed = sum(len(j.verdict.passed) for j in jobs)
    failed = sum(len(j.verdict.failed) + len(j.verdict.problems) for j in jobs)
    ran = {n for j in jobs for n in j.verdict.passed} | {n for j in jobs for n, _ in j.verdict.failed}
    never = sorted({n for j in jobs for n in j.verdict.skipped} - ran)
    if full:
        if os.environ.get("SAN") != "1":
            never = [n for n in never if not n.startswith("san.")]      # what wants a sanitizer that is in no kernel here
        for name in never:
            print(f"not ok - {name}: never exercised, for every run skipped it")
        paths = paths_never_passed(jobs)
        for path in paths:
            print(f"not ok - not exercised: the path {path} was passed in no run")
        return passed, failed + len(never) + len(paths), 0
    return passed, failed, len(never)


def main(argv):
    if argv not in ([], ["--soak"]):
        print(__doc__, file=sys.stderr)
        return 2
    test = os.environ.get("TEST") or None
    # Where a red run stops a change from landing it must be the change that made it red: always the same order there.
    seed = os.environ.get("SEED") or ("1" if os.environ.get("CI") else str(random.randrange(1, 1 << 31)))
    if not seed.isdigit():
        raise mkimage.Failure(f"SEED={seed}: must be a number")
    if argv == ["--soak"]:
        os.environ["SOAK"] = "1"        # the scripts take their time, too
    os.environ["SEED"] = seed
    print(f"seed {seed}" + (f", tests {test}" if test else ""), flush=True)
    jobs, full = plan_jobs(test, seed, soak=argv == ["--soak"])
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        pending = {pool.submit(job.run): job for job in jobs}
        for done, future in enumerate(concurrent.futures.as_completed(pending), 1):
            future.result()
            report_line(pending[future], done, len(jobs))
    for job in jobs:
        report_failures(job)
    passed, failed, skipped = totals(jobs, full)
    if failed:
        print(f"\nrepeat with the same order: make test SEED={seed}" + (f" TEST={shlex.quote(test)}" if test else ""))
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (mkimage.Failure, OSError) as e:
        print(f"run: {e}\n0 passed, 1 failed")
        sys.exit(1)
