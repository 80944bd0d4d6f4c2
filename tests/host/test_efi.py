#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The UEFI loader: what it says when it cannot go on, where its command line comes from, and its parts
against a firmware that misbehaves (efi_units.c)."""

import os
import re
import shutil
import struct
import subprocess
import sys
import threading

sys.dont_write_bytecode = True
import guest  # noqa: E402
import mkesp  # noqa: E402
from guest import check, contains, equal, scratch, test  # noqa: E402

FOLDER = os.path.dirname(os.path.realpath(guest.KERNEL))
LOADER = os.path.join(FOLDER, "BOOTX64.EFI")
STRIPPED = os.path.join(FOLDER, "efi", "kernel.elf")
EFI_FLAGS = ["-std=gnu11", "-O1", "-g", "-fshort-wchar", "-DGNU_EFI_USE_MS_ABI", "-isystem", "/usr/include/efi",
             "-isystem", "/usr/include/efi/x86_64", "-Wall", "-Wextra", "-Werror"]
KEY_PROMPT = "Press a key to return to the boot manager."
PT_LOAD = 1


def kernel_bytes():
    with open(STRIPPED, "rb") as f:
        return f.read()


def esp(name, kernel=None, cmdline=None, loader_at="EFI/BOOT/BOOTX64.EFI", more=()):
    """A partition with the loader and, where given, the bytes of the kernel and the command line."""
    files = {loader_at: LOADER}
    for where, content in (("faultline/kernel.elf", kernel), ("faultline/cmdline.txt", cmdline), *more):
        if content is not None:
            path = scratch(f"{name}-{os.path.basename(where)}")
            with open(path, "wb") as f:
                f.write(content)
            files[where] = path
    image = scratch(name + ".img")
    mkesp.build(image, files)
    return image


def plain(text):
    """The firmware's console without its escape sequences."""
    return re.sub(r"\x1b\[[0-9;=]*[A-Za-z]", "", text.replace("\r", ""))


def refused(image, sentence, status, *options):
    """The loader says one sentence with the status's name; then a key, and the boot manager has the machine."""
    command = [os.path.join(guest.TOP, "boot", "qemu"), "--boot", "efi", "--esp", image, "--no-disk", "--timeout", "60",
               "--log", scratch("qemu.log"), *options, "--append-nothing"]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    watchdog = threading.Timer(90, child.kill)
    watchdog.start()
    text, pressed = b"", False
    try:
        while not (pressed and b"BdsDxe: failed to start" in text):
            byte = os.read(child.stdout.fileno(), 4096)
            check(byte, f"the machine ended after: {plain(text.decode(errors='replace'))[-400:]!r}")
            text += byte
            if not pressed and KEY_PROMPT.encode() in text:
                check(b"failed to start" not in text, "the loader did not wait for the key")
                child.stdin.write(b"x")
                child.stdin.flush()
                pressed = True
    finally:
        watchdog.cancel()
        child.terminate()
        child.wait()
        child.stdin.close()
        child.stdout.close()
    said = [line for line in plain(text.decode(errors="replace")).splitlines() if line.startswith("Faultline: ")]
    equal("the number of sentences", len(said), 1)
    contains("the loader", said[0], sentence)
    check(said[0].endswith(f": {status}."), f"the sentence does not end with {status!r}: {said[0]!r}")


@test
def no_kernel_file():
    refused(esp("nofile"), r"cannot read \faultline\kernel.elf", "Not Found")


@test
def truncated_kernel():
    data = kernel_bytes()
    refused(esp("truncated", data[:len(data) // 3]), "is cut off", "Load Error")


@test
def foreign_kernel():
    refused(esp("foreign", kernel_bytes().replace(b"Faultline\0\0\0", b"Somebody \0\0\0", 1)),
            "no Faultline kernel", "Unsupported")


@test
def no_memory_for_the_kernel():
    data = bytearray(kernel_bytes())
    phoff, count = struct.unpack_from("<Q", data, 32)[0], struct.unpack_from("<H", data, 56)[0]
    last = max(phoff + 56 * i for i in range(count) if struct.unpack_from("<I", data, phoff + 56 * i)[0] == PT_LOAD)
    struct.pack_into("<Q", data, last + 40, 512 << 20)      # p_memsz
    refused(esp("large", bytes(data)), "KiB in one piece", "Out of Resources")


@test
def no_screen():
    refused(esp("noscreen", kernel_bytes()), "no graphics output", "Not Found", "--qemu", "-vga none")


@test
def command_line_from_the_file():
    image = esp("file", kernel_bytes(), b"screen=none\nselftest=boot.unsorted*\r\n")
    run = guest.Run("--boot", "efi", "--esp", image, "--no-disk", "--qemu", "-vga none", words=["seed=5"])
    equal(f"the exit status ({run.err.strip()})", run.status, 0)
    contains("the kernel", run.out, "screen=none selftest=boot.unsorted*")
    contains("the kernel", run.out, "# seed 5\n1..1\n")        # fw_cfg's words come after


@test
def load_options_replace_the_file():
    """Without a BOOTX64.EFI the firmware starts its shell, which runs startup.nsh."""
    image = esp("options", kernel_bytes(), b"selftest=nothing.at_all", loader_at="faultline/start.efi",
                more=[("startup.nsh", b"fs0:\\faultline\\start.efi selftest=boot.unsorted* seed=6\r\n")])
    run = guest.Run("--boot", "efi", "--esp", image, "--no-disk")
    equal(f"the exit status ({run.err.strip()})", run.status, 0)
    contains("the kernel", run.out, 'command line is "selftest=boot.unsorted* seed=6"')
    contains("the kernel", run.out, "# seed 6\n1..1\n")


@test
def parts_against_a_bad_firmware():
    program = scratch("efi_units")
    sources = [os.path.join(guest.TOP, s) for s in ("tests/host/efi_units.c", "boot/efi/elf.c", "boot/efi/memory.c",
                                                    "boot/boot_map.c")]
    compiler = shutil.which("gcc") or "cc"
    done = subprocess.run([compiler, *EFI_FLAGS, "-fsanitize=address,undefined", "-fno-sanitize-recover=all",
                           "-I", guest.TOP, "-o", program, *sources], capture_output=True, text=True)
    equal(f"the compiler's status ({done.stderr.strip()[-600:]})", done.returncode, 0)
    done = subprocess.run([program, STRIPPED, os.environ.get("SEED", "1")], capture_output=True, text=True, timeout=200,
                          env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"})
    equal(f"efi_units' status ({(done.stdout + done.stderr).strip()[-1200:]})", done.returncode, 0)
    contains("efi_units", done.stdout, "efi_units: good")


if __name__ == "__main__":
    sys.exit(guest.main("efi"))
