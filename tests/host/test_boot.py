#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Every way in, on both machines, describes the same RAM; maps with holes; GRUB's menu."""

import os
import re
import subprocess
import sys
import threading

sys.dont_write_bytecode = True
import guest  # noqa: E402
from guest import check, contains, equal, scratch, test  # noqa: E402

NAMES = {"pvh": "PVH", "bios": "Multiboot2", "uefi": "Multiboot2", "efi": "EFI"}


def boots(way, *options, glob="boot.*", disk=("--no-disk",)):
    """Boot, let the kernel's own tests look at its memory -> (usable, all of RAM) in KiB, what it said."""
    run = guest.Run("--boot", way, *disk, *options, words=[f"selftest={glob}"], timeout=200)
    what = f"--boot {way} {' '.join(options)}"
    equal(f"{what}: the exit status ({(run.err + run.out).strip()[-600:]})", run.status, 0)
    contains(what, run.out, f"started through {NAMES[way]}\n")
    found = re.search(r"^# \w+: (\d+) of (\d+) KiB of RAM usable$", run.out, re.M)
    return ((int(found[1]), int(found[2])) if found else None), run.out


@test
def every_way_and_machine_sees_the_same_ram():
    seen = {}
    for way in NAMES:
        for machine in ("pc", "q35"):
            usable, ram = boots(way, "--machine", machine, "--mem", "192M")[0]
            seen[way, machine] = usable
            equal(f"the RAM by {way} on {machine}", ram, 192 << 10)
    # UEFI keeps a few MiB for its run-time services; nobody may lose more.
    check(max(seen.values()) - min(seen.values()) < 12 << 10, f"usable KiB differ too much: {seen}")


@test
def root_is_found_on_vda_whatever_the_way():
    for way in ("uefi", "efi"):
        _, out = boots(way, glob="boot.u*", disk=())
        contains(way, out, "\nroot: vda ")


@test
def root_is_found_on_sda_by_the_same_iso():
    for way, machine, drive, said in (("bios", "pc", "pio", "sda: ATA disk at ide0 master, "), ("bios", "q35", "ata", "sda: ATA disk at ahci port 0, "),
                                      ("uefi", "pc", "ata", "sda: ATA disk at ide0 master, ")):
        _, out = boots(way, "--machine", machine, "--drive", drive, glob="boot.u*", disk=())
        contains(f"{way} {machine}", out, said)
        contains(f"{way} {machine}", out, "\nroot: sda ")
        contains(f"{way} {machine}", out, "DVD-ROM, an ATAPI device, is left alone\n")


@test
def the_launcher_knows_what_fits_on_ata():
    disk = guest.default_disk()
    for options, wanted in ((["--disk", disk + ",snapshot"] * 5, "5 disks; pc has room for 4\n"),
                            (["--boot", "bios"] + ["--disk", disk + ",snapshot"] * 4, "4 disks; pc has room for 3 beside the ISO\n"),
                            (["--disk", disk + ",ro"], "no read-only ATA disks; with snapshot the file stays as it is\n")):
        run = guest.Run("--drive", "ata", *options)
        equal(f"{options}: the exit status", run.status, 125)
        contains(str(options), run.err, wanted)
    run = guest.Run("--drive", "ata", *["--disk", disk + ",snapshot"] * 4, words=["selftest=boot.u*"])
    equal(f"four disks: the exit status ({(run.err + run.out).strip()[-600:]})", run.status, 0)
    contains("four disks", run.out, "sdd: ATA disk at ide1 slave, ")


@test
def a_first_program_that_cannot_be_started_is_named():
    for options, program, error in ((["--no-disk"], "/nothing", "ENOENT"), ([], "/etc/motd", "EACCES")):
        run = guest.Run(*options, words=[f"init={program}"])
        equal(f"{program}: the exit status ({(run.err + run.out).strip()[-600:]})", run.status, 110)
        contains(program, run.out, f"init: {program}: {error}\n")


@test
def one_processor_if_told_so():
    for words, said in ((["nosmp"], "smp: nosmp: one of 2 processors is used\n"), ([], "smp: 2 processors\n")):
        run = guest.Run("--no-disk", "--smp", "2", words=["selftest=smp.a_wakeup_*"] + words, timeout=200)
        equal(f"{words}: the exit status ({(run.err + run.out).strip()[-600:]})", run.status, 0)
        contains(str(words), run.out, said)
        equal(f"{words}: tests skipped for want of a second CPU", "needs 2 CPUs" in run.out, bool(words))


@test
def less_ram_if_told_so_but_not_too_little():
    for mem, said in (("1K", "mem: 1 KiB of RAM are too few, 4096 are the least; all of it is used\n"), ("0", "mem: 0 KiB"), ("4M", "")):
        run = guest.Run("--no-disk", "--mem", "32M", words=["selftest=boot.u*", f"mem={mem}"])
        equal(f"mem={mem}: the exit status ({(run.err + run.out).strip()[-600:]})", run.status, 0)
        contains(f"mem={mem}", run.out, said)
        equal(f"mem={mem}: it is less", int(re.search(r"memory: (\d+) KiB", run.out)[1]) < 16384, not said)


@test
def ram_above_4g():
    for way, machine, glob in (("pvh", "pc", "pmap*"), ("efi", "q35", "page.*")):
        _, out = boots(way, "--machine", machine, "--mem", "6G", glob=glob)
        ram = int(re.search(r"^memory: (\d+) KiB", out, re.M)[1])
        check(ram > (6 << 20) - (16 << 10), f"{way} found {ram} KiB of 6 GiB")


@test
def disks_reach_memory_above_4g():
    # IDE's bus master does not: there the processor moves what lies above.
    for machine in ("pc", "q35"):
        boots("pvh", "--machine", machine, "--drive", "ata", "--mem", "6G", glob="disk.*", disk=())


@test
def ram_with_a_hole():
    (usable, ram), out = boots("pvh", "--mem", "2G", "--qemu", "-machine max-ram-below-4g=512M")
    equal("the RAM", ram, 2 << 20)
    check(usable > (2 << 20) - 4096, f"only {usable} KiB of 2 GiB are usable")
    check(int(re.search(r" in (\d+) ranges", out)[1]) >= 2, "all of it in one range: there was no hole")


def dialogue(command, *steps):
    """Wait for each text on the machine's serial line and type the answer."""
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    watchdog = threading.Timer(120, child.kill)
    watchdog.start()
    text = ""
    try:
        for wanted, answer in steps:
            while wanted not in text:
                part = os.read(child.stdout.fileno(), 4096)
                check(part, f"it does not say {wanted!r}, but {text[-300:]!r}")
                text += part.decode(errors="replace").replace("\r", "")
            text = text.partition(wanted)[2]
            child.stdin.write(answer.encode())
            child.stdin.flush()
    finally:
        watchdog.cancel()
        child.terminate()
        child.wait()
        child.stdin.close()
        child.stdout.close()


# The menu's last line, which ticks, follows its entries.
ENTRIES = (("a single CPU", ""), ("safe mode", ""), ("executed automatically", ""))


@test
def menu_without_the_launcher():
    """What somebody who has nothing but the ISO sees: the menu, the entry's words, a prompt, and an end that says so."""
    iso = os.path.join(os.path.dirname(os.path.realpath(guest.KERNEL)), "faultline.iso")
    dialogue(["qemu-system-x86_64", "-m", "128M", "-cdrom", iso, "-display", "none", "-serial", "stdio"],
             *ENTRIES[:-1], (ENTRIES[-1][0], "s"), ('command line is "interactive screen=hold nosmp ata=pio"\n', ""),
             ("DVD-ROM, an ATAPI device, is left alone\n", ""), ("faultline> ", "poweroff\r"), ("it can be switched off.\n", ""))


@test
def menu_under_uefi():
    dialogue([os.path.join(guest.TOP, "boot", "qemu"), "--kernel", guest.KERNEL, "--boot", "uefi", "--menu", "--no-disk", "--timeout", "100",
              "--log", scratch("qemu.log"), "--append-nothing"],
             *ENTRIES[:-1], (ENTRIES[-1][0], "t"), ('command line is "selftest"\n', ""), ("TAP version", ""))


if __name__ == "__main__":
    sys.exit(guest.main("boot"))
