#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Programs of tests/user, run by Faultline and by this machine's Linux: the same binaries, the same transcripts.

One boot runs them all, below tests/user/run_all.c as the first process.  What they say is compared line by line, but for the
differences that are kept on purpose: KEPT below, each with its reason.  A difference that is listed and not found fails, too.
Two more boots, on two CPUs: those that mean harm, and some on files that live in memory; and system calls with random
arguments.
"""

import os
import re
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True
from rig import SEED, SOAK, TOP, Rig, boot, check  # noqa: E402
from volume import mke2fs  # noqa: E402

MIB = 1 << 20
BUILT = os.path.join(TOP, "build", "user")
# These are no transcripts: the runner, the fuzzer, the bench.
APART = ("run_all", "fuzz_calls", "bench_calls")
PROGRAMS = sorted(name[:-2] for name in os.listdir(os.path.join(TOP, "tests", "user"))
                  if name.endswith(".c") and name != "probe.c" and name[:-2] not in APART)

HARMFUL = ["hostile", "sig_fault", "sys_pointers"]
ON_TMPFS = ["file_fifo", "file_random", "mem_eof", "mem_random", "mem_remap", "mem_share", "mem_sync", "mem_truncate"]

# (program, the start of the line) -> what Faultline says, and why that is kept
KEPT = {
    ("mem_truncate", "private, cut off, copied"): ("0x51", "a private copy stays with its owner when the file shrinks, as BSD has it"),
}
MISSING = re.compile(r"^\S+\[\d+\]: system call \d+ \(.*\) is not there: ENOSYS$")
PARTS = re.compile(r"^== (\S+)\n(.*?)^-- (.*?)$", re.M | re.S)

rig = Rig("user")


def make_image(name, size=96 * MIB):
    """A volume with the programs in /bin and the folders that they want."""
    host = rig.path("root")
    if not os.path.exists(host):
        for folder in ("bin", "dev", "proc", "tmp", "scratch"):
            os.makedirs(os.path.join(host, folder))
        for program in os.listdir(BUILT):
            shutil.copy(os.path.join(BUILT, program), os.path.join(host, "bin", program))
    image = rig.path(name)
    mke2fs(image, 4096, size, host)
    return image


def parts_of(text):
    """run_all's output -> {program: its lines and how it ended}"""
    return {os.path.basename(words.split(",")[0]): [line for line in body.splitlines() if not MISSING.match(line)] + [end]
            for words, body, end in PARTS.findall(text)}


def on_linux():
    folder = rig.path("linux")
    os.makedirs(folder)
    done = subprocess.run([os.path.join(BUILT, "run_all"), folder] + [os.path.join(BUILT, p) for p in PROGRAMS],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=600, check=True)
    return parts_of(done.stdout.decode(errors="replace"))


def transcripts():
    """Both sides, once for all tests."""
    if not hasattr(rig, "transcripts"):
        image = make_image("user.img")
        status, serial = boot(rig, image, "init=/bin/run_all", "aslr=" + str(SEED), "--", "/scratch",
                              *[f"/bin/{p}" for p in PROGRAMS], options=("--smp", "4"), timeout=280)
        problems = check(image)
        rig.transcripts = on_linux(), parts_of(serial), status, serial, problems
    return rig.transcripts


def whole_run():
    """The machine ended as its first process did, and left a clean volume."""
    _, guest, status, serial, problems = transcripts()
    assert status == 0, f"the machine ended with status {status}:\n" + serial[-2000:]
    assert sorted(guest) == PROGRAMS, f"ran {sorted(guest)}, not {PROGRAMS}"
    assert not problems, "\n".join(problems)


def differences(program, guest):
    """What a program said here is what it says on Linux, but for what is kept."""
    linux = transcripts()[0].get(program, [])
    wanted, wrong = [], []
    for line in linux:
        kept = next((v for (p, start), v in KEPT.items() if p == program and line.startswith(start + ": ")), None)
        wanted.append(f"{line.split(': ')[0]}: {kept[0]}" if kept else line)
    for number in range(max(len(wanted), len(guest))):
        a = wanted[number] if number < len(wanted) else "(nothing)"
        b = guest[number] if number < len(guest) else "(nothing)"
        if a != b:
            wrong.append(f"line {number + 1}: Linux says {a!r}, Faultline {b!r}")
    assert not wrong, "\n".join(wrong[:20])


def compare(program):
    differences(program, transcripts()[1].get(program, ["(did not run)"]))


def second_run():
    """Those that mean harm, and those that use files: on two CPUs, with little memory, and on tmpfs in /tmp."""
    memory = "96M" if os.environ.get("SAN") in ("kasan", "1") else "32M"
    if not hasattr(rig, "second_run"):
        rig.second_run = boot(rig, make_image("smp.img"), "init=/bin/run_all", "--", "/tmp",
                              *[f"/bin/{p}" for p in HARMFUL + ON_TMPFS], options=("--smp", "2", "--mem", memory), timeout=250)
    status, serial = rig.second_run
    assert status == 0, f"the machine ended with status {status}:\n" + serial[-2000:]
    return parts_of(serial)


def on_two_cpus():
    for program in HARMFUL:
        differences(program, second_run().get(program, ["(did not run)"]))


def on_tmpfs(program):
    differences(program, second_run().get(program, ["(did not run)"]))


def fuzz():
    """Whatever a program asks for, in several threads on several CPUs, the machine lives."""
    image = make_image("fuzz.img")
    cpus = "4" if SOAK else "2"
    status, serial = boot(rig, image, "init=/bin/fuzz_calls", "--", str(SEED), "400" if SOAK else "40", "2000", cpus,
                          options=("--smp", cpus), timeout=3600 if SOAK else 250)
    assert "and one more: exit 0" in serial, serial[-3000:]
    assert status == 0, f"the machine ended with status {status}"


rig.add("user.the_machine_ends_as_its_first_process", whole_run)
for each in PROGRAMS:
    rig.add(f"user.{each}", compare, each)
rig.add("user.harm_on_two_cpus", on_two_cpus)
for each in ON_TMPFS:
    rig.add(f"user.on_tmpfs.{each}", on_tmpfs, each)
rig.add("user.random_system_calls", fuzz)

if __name__ == "__main__":
    sys.exit(rig.main())
