#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Test the test harness: everything that goes wrong must be reported red, and as what it is.

The kernel's modes selftest=fail|panic|hang|triple|lie go wrong on purpose; the launcher's exit
status and tap.py's verdict are checked for each.  FAULTLINE_KERNEL names another kernel to test with.
"""

import contextlib
import io
import os
import socket
import subprocess
import sys
import tempfile
import unittest.mock

sys.dont_write_bytecode = True
import run  # noqa: E402
import tap  # noqa: E402

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
KERNEL = os.environ.get("FAULTLINE_KERNEL", os.path.join(TOP, "build", "kernel.elf"))
TESTS = []
SCRATCH = tempfile.TemporaryDirectory(prefix="faultline-harness-")


def test(function):
    TESTS.append(function)
    return function


def launch(*options, words=(), timeout=150):
    """Run the launcher -> (status, stdout, stderr).  QEMU's log goes to the scratch folder."""
    log = os.path.join(SCRATCH.name, "qemu.log")
    done = subprocess.run([os.path.join(TOP, "boot", "qemu"), "--log", log, "--timeout", str(timeout), *options,
                           "--", *words], stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout + 60)
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


def kernel_mode(word, timeout=150):
    return launch("--kernel", KERNEL, "--no-disk", words=[word], timeout=timeout)


def equal(what, got, wanted):
    if got != wanted:
        raise AssertionError(f"{what} is {got!r}, not {wanted!r}")


def contains(what, text, part):
    if part not in text:
        raise AssertionError(f"{what} does not say {part!r} but {text.strip()[-300:]!r}")


def red(status, text, sentence):
    """The judge must find a problem that says `sentence`."""
    v = tap.judge(text, status)
    equal("the verdict's `good`", v.good, False)
    contains("the verdict", "; ".join(v.problems), sentence)


# ---- a kernel that goes wrong ---------------------------------------------------------------------

@test
def kernel_fail():
    status, out, err = kernel_mode("selftest=fail")
    equal(f"the exit status ({err.strip()})", status, 1)
    v = tap.judge(out, status)
    equal("the problems", v.problems, [])
    equal("the number of failed tests", len(v.failed) >= 1, True)
    equal("the verdict's `good`", v.good, False)
    equal("the failed test has diagnostics", bool(v.failed[0][1]), True)


@test
def kernel_panic():
    status, out, err = kernel_mode("selftest=panic")
    equal("the exit status", status, 126)
    contains("stderr", err, "panicked")
    contains("the serial log", out, "panic")
    red(status, out, "panic")


@test
def kernel_hang():
    status, out, err = kernel_mode("selftest=hang", timeout=8)
    equal("the exit status", status, 124)
    contains("stderr", err, "timeout")
    equal("the guest said something before it hung", bool(out.strip()), True)
    red(status, out, "hang")


@test
def kernel_triple_fault():
    status, out, err = kernel_mode("selftest=triple")
    equal("the exit status", status, 127)
    contains("stderr", err, "triple fault")
    red(status, out, "triple fault")


@test
def kernel_lie():
    status, out, _ = kernel_mode("selftest=lie")
    equal("the exit status", status, 3)
    contains("the serial log", out, "1 passed, 0 failed")
    red(status, out, "lying log")


@test
def kernel_glob_without_match():
    status, out, _ = kernel_mode("selftest=nothing.*")
    equal("the exit status", status, 2)
    red(status, out, "no test matches")


# ---- what the launcher refuses --------------------------------------------------------------------

def refused(sentence, *options):
    status, out, err = launch(*options)
    equal(f"the exit status of {options}", status, 125)
    contains("stderr", err, sentence)
    equal("the number of lines on stderr", len(err.strip().splitlines()), 1)
    equal("stdout", out, "")


@test
def missing_kernel():
    refused("does not exist", "--kernel", "/nonexistent/kernel.elf", "--no-disk")


@test
def missing_disk():
    refused("the disk image", "--kernel", KERNEL, "--disk", "/nonexistent/disk.img")


@test
def missing_iso():
    refused("does not exist", "--boot", "bios", "--iso", "/nonexistent/faultline.iso", "--no-disk")
    refused("does not exist", "--boot", "efi", "--esp", "/nonexistent/esp.img", "--no-disk")


@test
def disk_that_is_a_folder():
    refused("is no file", "--kernel", KERNEL, "--disk", os.path.dirname(KERNEL))


@test
def options_that_mean_nothing():
    for seconds in ("nan", "inf", "0", "soon"):
        refused(f"--timeout {seconds}: must be", "--kernel", KERNEL, "--no-disk", "--timeout", seconds)
    refused("a quotation", "--kernel", KERNEL, "--no-disk", "--qemu", "-name 'half")


@test
def missing_rules():
    refused("rule file", "--kernel", KERNEL, "--disk", f"{KERNEL},blkdebug=/nonexistent/rules")


@test
def bad_options():
    for option, value, sentence in (("--boot", "floppy", "pvh, bios"), ("--machine", "vax", "pc, q35"),
                                    ("--drive", "scsi", "virtio, ata"), ("--mem", "12", "K, M or G"), ("--mem", "3M", "4M at least"),
                                    ("--smp", "9", "1 to 8"), ("--accel", "magic", "tcg, kvm")):
        refused(sentence, option, value, "--no-disk")
    refused("unrecognized arguments", "--frobnicate")
    refused("is not an option of a disk", "--kernel", KERNEL, "--disk", f"{KERNEL},rw")
    refused("exclude each other", "--kernel", KERNEL, "--no-disk", "--disk", KERNEL)


@test
def what_cannot_be_written():
    """Root may write anywhere, so the places are impossible ones."""
    for option in ("--trace", "--log", "--record"):
        refused("cannot be written: Is a directory", option, SCRATCH.name, "--kernel", KERNEL, "--no-disk")
        refused("cannot be written: its folder is a file", option, KERNEL + "/x", "--kernel", KERNEL, "--no-disk")
    refused("the disk's log", "--kernel", KERNEL, "--disk", f"{KERNEL},log={SCRATCH.name}")


@test
def gdbs_socket():
    place = os.path.join(SCRATCH.name, "taken.sock")
    refused("no socket", "--kernel", KERNEL, "--no-disk", "--gdb=" + KERNEL)
    refused("may have 103 bytes", "--kernel", KERNEL, "--no-disk", "--gdb=" + os.path.join(SCRATCH.name, "x" * 120))
    refused("its folder is a file", "--kernel", KERNEL, "--no-disk", f"--gdb={KERNEL}/x")
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(place + ".qmp")
        other.listen()
        refused("another QEMU listens there", "--kernel", KERNEL, "--no-disk", "--gdb=" + place)


@test
def qemu_cannot_start():
    status, _, err = launch("--kernel", KERNEL, "--no-disk", "--qemu", "-bogus")
    equal("the exit status", status, 125)
    contains("stderr", err, "QEMU could not start")


@test
def not_a_kernel():
    path = os.path.join(SCRATCH.name, "text.elf")
    with open(path, "w", encoding="ascii") as f:
        f.write("this is no ELF file\n" * 100)
    status, _, err = launch("--kernel", path, "--no-disk", timeout=10)
    equal("the exit status is one of failure", status in (124, 125), True)
    contains("stderr", err, "boot/qemu:")


# ---- the judge ------------------------------------------------------------------------------------

GOOD = "TAP version 13\n# seed 1\n1..2\nok 1 - a.b\nok 2 - a.c\n2 passed, 0 failed\n"


@test
def judge_accepts_a_good_log():
    v = tap.judge(GOOD.replace("\n", "\r\n"), 0)
    equal("the problems", v.problems, [])
    equal("passed", v.passed, ["a.b", "a.c"])
    equal("good", v.good, True)


@test
def judge_counts_skips():
    v = tap.judge("1..2\nok 1 - a.b\nok 2 - a.c # SKIP no disk\n1 passed, 0 failed, 1 skipped\n", 0)
    equal("the problems", v.problems, [])
    equal("skipped", v.skipped, ["a.c"])


@test
def judge_truncated_log():
    red(0, "TAP version 13\n1..3\nok 1 - a.b\nok 2 - a.c\n2 passed, 0 failed\n", "truncated log: the plan says 3")
    red(0, GOOD.replace("2 passed, 0 failed\n", ""), "closing")
    red(0, "", "no TAP plan")
    red(0, "2 passed, 0 failed\n", "no TAP plan")


@test
def judge_lying_log():
    red(19, GOOD, "lying log")
    red(1, GOOD, "lying log")
    red(0, GOOD.replace("2 passed", "3 passed"), "lying log")
    red(0, GOOD.replace("ok 2", "not ok 2"), "lying log")
    red(0, "1..0\n0 passed, 0 failed\n", "tested nothing")
    red(0, GOOD.replace("a.c", "a.b"), "more than once")
    red(0, GOOD.replace("ok 2", "ok 7"), "numbers")


@test
def judge_abnormal_end_beats_a_good_log():
    for status, sentence in ((124, "hang"), (125, "QEMU failed"), (126, "panic"), (127, "triple fault")):
        red(status, GOOD, sentence)


# ---- the runner ---------------------------------------------------------------------------------------

def job_that_said(*lines):
    job = run.Job("a job")
    job.serial = "".join(line + "\n" for line in lines)
    job.verdict = tap.judge(GOOD, 0)
    return job


@test
def path_never_passed_is_red():
    jobs = [job_that_said("# path a vm/x.c:1 0", "# path b vm/x.c:2 3"), job_that_said("# path a vm/x.c:1 0", "# path b vm/x.c:2 0")]
    equal("what no run passed", run.paths_never_passed(jobs), ["a (vm/x.c:1)"])
    with contextlib.redirect_stdout(io.StringIO()) as out:
        passed, failed, _ = run.totals(jobs, True)
    equal("passed and failed", (passed, failed), (4, 1))
    contains("the report", out.getvalue(), "not ok - not exercised: the path a (vm/x.c:1) was passed in no run")
    equal("failed, where not everything was run", run.totals(jobs, False)[1], 0)
    jobs[1].serial = jobs[1].serial.replace("1 0", "1 1")
    equal("failed, when a run passed it", run.totals(jobs, True)[1], 0)


@test
def suite_runs_in_little_memory_and_under_torture():
    equal("the memories below 64 MiB", {m.mem for m in run.MATRIX if m.mem in ("4M", "8M", "16M", "32M")}, {"8M", "16M"})
    equal("torture", {m.torture for m in run.MATRIX}, {0, 1})


def clean(image):
    with open(image, "rb") as f:
        return f.read(2048)[run.mkimage.SUPERBLOCK + run.mkimage.STATE] & run.mkimage.STATE_CLEAN != 0


@test
def a_disk_whose_machine_was_ended_is_looked_over_and_one_in_use_is_not():
    image = os.path.join(SCRATCH.name, "unclean.img")
    folder = os.path.join(SCRATCH.name, "empty")
    os.mkdir(folder)
    run.mkimage.mke2fs(image, 4096, 4 << 20, folder)
    machine = subprocess.Popen([os.path.join(TOP, "boot", "qemu"), "--kernel", KERNEL, "--disk", image, "--timeout", "150",
                                "--log", os.path.join(SCRATCH.name, "qemu.log"), "--", "selftest=hang"],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        for line in machine.stdout:
            if b"mounted read-write" in line:
                break
        with contextlib.redirect_stderr(io.StringIO()) as told:
            run.mkimage.mend_unclean(image)
            equal("in use, the volume is clean", clean(image), False)
            machine.terminate()
            machine.wait()
            run.mkimage.mend_unclean(image)
    finally:
        machine.terminate()
        machine.wait()
        machine.stdout.close()
    equal("looked over, the volume is clean", clean(image), True)
    equal("its problems are", run.problems_of(image), [])
    equal("the times it was told", told.getvalue().count("e2fsck"), 1)


@test
def every_value_of_every_dimension_is_in_a_run():
    for field, values in run.DIMENSIONS.items():
        missing = set(values) - {getattr(m, field) for m in run.MATRIX}
        equal(f"the values of {field} that no run has", missing, set())


@test
def race_suites_run_with_yield_points():
    equal("the suites", {suite for suite, _ in run.YIELD_RUNS}, {"races.*", "wirerace.*", "fakepager.*", "storm.*"})
    equal("the CPUs", {cpus for _, cpus in run.YIELD_RUNS}, {1, 2, 4})
    job = run.suite_job(run.Machine(yields=1), "races.*", 7)
    equal("the kernel's words", job.words[-1], "yields=7")


@test
def every_block_size_is_run():
    equal("the block sizes", {m.bs for m in run.MATRIX}, set(run.mkimage.BLOCK_SIZES))
    with unittest.mock.patch.dict(os.environ):
        os.environ.pop("BS", None)
        equal("the exerciser's", [p["BS"] for p in run.parts_of("host.fsx")], list(map(str, run.mkimage.BLOCK_SIZES)))


def main():
    failed = 0
    print(f"1..{len(TESTS)}")
    for number, function in enumerate(TESTS, 1):
        try:
            function()
            print(f"ok {number} - harness.{function.__name__}", flush=True)
        except (AssertionError, OSError, subprocess.TimeoutExpired) as e:
            failed += 1
            print(f"not ok {number} - harness.{function.__name__}")
            print(f"# {e}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
