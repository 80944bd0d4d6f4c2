# SPDX-License-Identifier: BSD-2-Clause
"""Tools for making ext2 volumes without root and without mounting: the test pattern, sparse
files, and thin wrappers of mke2fs, debugfs and e2fsck."""

import os
import re
import shutil
import subprocess

MASK = (1 << 64) - 1
SECTOR = 512
WORDS = SECTOR // 8

# One 64-bit value in every word of a sector, and the number i * 0x0101010101010101 in word i.
SPREAD = sum(1 << (64 * i) for i in range(WORDS))
COUNT = sum(((i * 0x0101010101010101) & MASK) << (64 * i) for i in range(WORDS))


class Failure(Exception):
    """A sentence for the user."""


def fnv1a(path):
    h = 0x811C9DC5
    for byte in path.encode():
        h = ((h ^ byte) * 0x01000193) & 0xFFFFFFFF
    return h


def mix64(x):
    """The finaliser of splitmix64."""
    x ^= x >> 30
    x = x * 0xBF58476D1CE4E5B9 & MASK
    x ^= x >> 27
    x = x * 0x94D049BB133111EB & MASK
    return x ^ (x >> 31)


def pattern(path, offset, length):
    """The bytes that belong at [offset, offset + length) of the file `path`, such as "/t/seq".

    Sector s starts from v = mix64(fnv1a(path) * 0x9E3779B97F4A7C15 + s * 0xD1B54A32D192ED03); its
    64-bit little-endian word i is v ^ (i * 0x0101010101010101).  The kernel's tests compute the same.
    """
    base = fnv1a(path) * 0x9E3779B97F4A7C15
    first, last = offset // SECTOR, (offset + length + SECTOR - 1) // SECTOR
    sectors = []
    for s in range(first, last):
        v = mix64((base + s * 0xD1B54A32D192ED03) & MASK)
        sectors.append(((v * SPREAD) ^ COUNT).to_bytes(SECTOR, "little"))
    start = offset - first * SECTOR
    return b"".join(sectors)[start:start + length]


def write_sparse(host_path, path, size, extents):
    """Make a file of `size` bytes with the pattern of `path` in the extents and holes elsewhere."""
    CHUNK = 1 << 20
    with open(host_path, "wb") as f:
        for offset, length in extents:
            f.seek(offset)
            for at in range(offset, offset + length, CHUNK):
                f.write(pattern(path, at, min(CHUNK, offset + length - at)))
        f.truncate(size)


def tool(name):
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if found is None:
        raise Failure(f"{name} is not installed: run make setup")
    return found


def command(args, allowed=(0,), stdin=""):
    """Run a tool; its output, or a Failure that quotes it."""
    done = subprocess.run([tool(args[0])] + args[1:], input=stdin, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace")
    if done.returncode not in allowed:
        raise Failure(f"{' '.join(args)} failed with status {done.returncode}:\n{done.stdout.strip()}")
    return done.stdout


def mke2fs(image, block_size, size, folder, features=None, inodes=None):
    """Make an ext2 volume of `size` bytes in `image` and fill it from a folder."""
    if os.path.exists(image):
        os.unlink(image)
    args = ["mke2fs", "-q", "-F", "-t", "ext2", "-b", str(block_size), "-m", "0",
            "-U", "fa017000-0000-4000-8000-00000000e2f5", "-L", "faultline", "-E", "root_owner=0:0"]
    if features:
        args += ["-O", features]
    if inodes:
        args += ["-N", str(inodes)]
    command(args + ["-d", folder, image, f"{size // 1024}k"])


def debugfs(image, *requests, write=False):
    """Run debugfs requests on the image -> output.  debugfs reports errors as text only."""
    args = ["debugfs"] + (["-w"] if write else []) + ["-f", "/dev/stdin", image]
    done = subprocess.run([tool("debugfs")] + args[1:], input="\n".join(requests) + "\n", stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, errors="replace")
    errors = [line for line in done.stderr.splitlines() if line and not line.startswith("debugfs 1.")]
    if done.returncode or errors:
        raise Failure(f"debugfs {image}: {errors[0] if errors else done.returncode}")
    return done.stdout


def problems_of(image):
    """What e2fsck finds wrong, as sentences."""
    done = subprocess.run([tool("e2fsck"), "-fn", image], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", stdin=subprocess.DEVNULL)
    if done.returncode:
        return [f"e2fsck -fn ended with {done.returncode}:"] + done.stdout.strip().splitlines()[-12:]
    return []


def fsck_clean(image):
    command(["e2fsck", "-fn", image])


def block_size_of(image):
    with open(image, "rb") as f:
        f.seek(1024 + 24)
        return 1024 << int.from_bytes(f.read(4), "little")


def file_map(image, path):
    """debugfs's list of a file's blocks -> ([(logical, physical)], {"IND": [...], "DIND": [...], ...})."""
    text = debugfs(image, f"stat {path}")
    data, indirect = [], {}
    listing = text.partition("BLOCKS:")[2].partition("TOTAL:")[0]
    for key, first, last in re.findall(r"\((\d+(?:-\d+)?|[A-Z]+)\):(\d+)(?:-(\d+))?", listing):
        if key.isalpha():
            indirect.setdefault(key, []).append(int(first))
            continue
        start, _, end = key.partition("-")
        for n in range(int(start), int(end or start) + 1):
            data.append((n, int(first) + n - int(start)))
    return data, indirect


def runs(blocks):
    """The number of extents in a list of (logical, physical)."""
    pairs = sorted(blocks)
    return sum(1 for i, (l, p) in enumerate(pairs)
               if i == 0 or (l, p) != (pairs[i - 1][0] + 1, pairs[i - 1][1] + 1))
