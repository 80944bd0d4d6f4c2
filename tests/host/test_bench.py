#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Run the measurements under -icount and check what must be true of them whatever the machine.

That each row of tests/bench/rows.c gets a value, that two runs agree, that a contiguous file is read in full requests,
and that a fault costs no more in large surroundings than the logarithm allows.  Instructions and requests are counted;
wall time never is.  FAULTLINE_KERNEL names another kernel to test with, such as build/release-gcc/kernel.elf.
"""

import math
import os
import re
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
import mkimage  # noqa: E402
import run  # noqa: E402

TOP = mkimage.TOP
KERNEL = os.environ.get("FAULTLINE_KERNEL", os.path.join(TOP, "build", "kernel.elf"))
TIMEOUT_SECONDS = 300       # only how long a failure takes
# A run in which RAM holds the files, twice, and one in which it doesn't.
SMALL = "small-ram"
FILE_MIB, REQUEST_KIB = 64, 128
PER_DOUBLING = 0.015        # what a ratio may grow by for each doubling of the surroundings
TESTS = []


def test(function):
    TESTS.append(function)
    return function


def swap_disk(scratch):
    path = os.path.join(scratch, "swap.img")
    if not os.path.exists(path):
        with open(path, "wb") as f:
            f.truncate(16 << 20)
    return path


class Run:
    """One run of the kernel with the word `bench`."""

    def __init__(self, image, scratch, name, *words, mem="256M"):
        command = [os.path.join(TOP, "boot", "qemu"), "--icount", "--kernel", KERNEL, "--mem", mem,
                   "--disk", image + ",snapshot", "--disk", swap_disk(scratch) + ",snapshot", "--log", os.path.join(scratch, name + ".log"),
                   "--timeout", str(TIMEOUT_SECONDS), "--", *words, "swap=vdb"]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE)
        self.status, self.text, self.values = None, "", {}

    def finish(self):
        out, err = self.process.communicate(timeout=TIMEOUT_SECONDS + 30)
        self.status = self.process.returncode
        self.text = (out + err).decode(errors="replace").replace("\r", "")
        for name, value in re.findall(r"^bench: (\S+) ([0-9.]+) \S+$", self.text, re.M):
            self.values[name] = float(value)
        return self


def declared_rows():
    """The names of the table, in order, from its source."""
    with open(os.path.join(TOP, "tests", "bench", "rows.c"), encoding="utf-8") as f:
        return re.findall(r'^\t\{ "([a-z0-9.-]+)",', f.read(), re.M)


def check(condition, sentence):
    if not condition:
        raise AssertionError(sentence)


def tail(run_):
    return " | ".join(run_.text.strip().splitlines()[-6:])


# ---- the tests ------------------------------------------------------------------------------------

@test
def ends_well(runs):
    for name, r in runs.items():
        check(r.status == 0, f"the {name} run ended with status {r.status}: {tail(r)}")
        check("FAILED" not in r.text, f"the {name} run says FAILED: {tail(r)}")


@test
def counts_instructions(runs):
    rate = re.search(r"([0-9.]+) TSC counts an instruction", runs["first"].text)
    check(rate is not None, "the first run does not say how many TSC counts an instruction takes")
    check(abs(float(rate.group(1)) - 1) < 0.002, f"an instruction takes {rate.group(1)} TSC counts")


@test
def every_row_has_a_value(runs):
    rows = declared_rows()
    check(len(rows) > 30, f"only {len(rows)} rows found in rows.c")
    small = [n for n in rows if n.startswith(SMALL)]
    wanted = {"first": set(rows) - set(small), "second": set(rows) - set(small), SMALL: set(small)}
    for name, r in runs.items():
        missing, extra = wanted[name] - set(r.values), set(r.values) - wanted[name]
        check(not missing and not extra, f"{name} run: missing {sorted(missing)}, unexpected {sorted(extra)}")
        zero = [n for n, v in r.values.items() if v == 0]
        check(not zero, f"{name} run: the value is 0: {zero}")


# The syncer writes these by the clock, which goes on while the host's disk works: writing_uses_full_requests() bounds them.
BY_THE_CLOCK = ("-metadata", "-flushes")


@test
def two_runs_agree(runs):
    one, two = runs["first"].values, runs["second"].values
    apart = {n: (one[n], two[n]) for n in one if not n.endswith(BY_THE_CLOCK) and abs(one[n] - two[n]) > 0.01 * max(one[n], two[n])}
    check(not apart, f"more than 1 % apart: {apart}")


@test
def sequential_read_uses_full_requests(runs):
    v = runs["first"].values
    ideal = FILE_MIB * 1024 // REQUEST_KIB
    check(abs(v["seq.contig-requests"] - ideal) <= 2,
          f"{v['seq.contig-requests']:.0f} requests for {FILE_MIB} MiB, not {ideal}")
    check(ideal - 4 <= v["seq.contig-full"] <= ideal, f"{v['seq.contig-full']:.0f} of them have {REQUEST_KIB} KiB")


@test
def no_byte_is_read_twice(runs):
    v = runs["first"].values
    for kind in ("contig", "frag"):
        sectors = v[f"seq.{kind}-sectors"]
        check(sectors == FILE_MIB * 2048, f"{kind}: {sectors:.0f} sectors for {FILE_MIB} MiB")


@test
def fragments_cost_requests_only(runs):
    """A fragmented file needs about as many requests as it has fragments, and never one for each page."""
    requests, fragments = runs["first"].values["seq.frag-requests"], FILE_MIB * 1024 // 32
    check(fragments <= requests <= 1.5 * fragments, f"{requests:.0f} requests, {fragments} fragments")


def ratio_within(runs, name, count):
    got, bound = runs["first"].values[name], 1 + PER_DOUBLING * math.log2(count)
    check(got <= bound, f"{name} is {got}, the bound is {bound:.3f}")


@test
def resident_pages_cost_their_logarithm(runs):
    ratio_within(runs, "resident.ratio-100", 100)
    ratio_within(runs, "resident.ratio-10000", 10000)


@test
def copies_after_a_fork_cost_their_logarithm(runs):
    ratio_within(runs, "forked.ratio", 1024 / 64)


@test
def mappings_cost_their_logarithm(runs):
    ratio_within(runs, "entries.ratio-100", 100)
    ratio_within(runs, "entries.ratio-10000", 10000)


@test
def file_size_costs_nothing(runs):
    v = runs["first"].values
    check(v["size.ratio"] <= 1.01, f"size.ratio is {v['size.ratio']}")
    check(v["size.cold-ratio"] <= 1.2, f"size.cold-ratio is {v['size.cold-ratio']}")


@test
def msync_costs_what_is_dirty(runs):
    """T(N) = a + bN, whatever is resident: the slope stays, and nothing dirty costs next to nothing."""
    v = runs["first"].values
    check(abs(v["msync.slopes"] - 1) <= 0.1, f"a page costs {v['msync.slopes']} times as much from 256 pages on")
    check(abs(v["msync.resident"] - 1) <= 0.05, f"16 times as many resident pages cost {v['msync.resident']} times as much")
    check(v["msync.0"] < 10 * v["msync.page"], f"syncing nothing takes {v['msync.0']:.0f} instructions")


@test
def a_store_to_a_dirty_page_does_not_fault(runs):
    v = runs["first"].values
    check(v["dirty.again"] <= 50 < v["dirty.page"], f"{v['dirty.again']:.0f} instructions, the first one {v['dirty.page']:.0f}")


@test
def writing_uses_full_requests(runs):
    """Runs are cut by the file's 17 pointer blocks, and where the laundry and the writer meet."""
    v = runs["first"].values
    ideal = FILE_MIB * 1024 // REQUEST_KIB
    for kind in ("map", "call"):
        requests, full = v[f"write64.{kind}-requests"], v[f"write64.{kind}-full"]
        check(v[f"write64.{kind}-sectors"] == FILE_MIB * 2048, f"{kind}: {v[f'write64.{kind}-sectors']:.0f} sectors of data")
        check(requests <= 1.1 * ideal and full >= 0.9 * ideal, f"{kind}: {requests:.0f} requests, {full:.0f} of them full")
        check(v[f"write64.{kind}-metadata"] <= 64, f"{kind}: {v[f'write64.{kind}-metadata']:.0f} writes of metadata")
        check(v[f"write64.{kind}-flushes"] <= 8, f"{kind}: {v[f'write64.{kind}-flushes']:.0f} flushes")


@test
def laundry_and_swap_write_clusters(runs):
    v = runs["first"].values
    check(v["launder.sectors"] == 512 * 8 and v["launder.requests"] <= 20,
          f"laundry: {v['launder.requests']:.0f} requests, {v['launder.sectors']:.0f} sectors")
    for way in ("out", "in"):
        check(v[f"swap.{way}-requests"] <= 40, f"{v[f'swap.{way}-requests']:.0f} requests for 1,024 pages {way}")


@test
def a_chain_costs_its_length(runs):
    """A fault whose page lies under N objects: a + bN, and b is small."""
    v = runs["first"].values
    near, far = (v["chain.10"] - v["chain.1"]) / 9, (v["chain.100"] - v["chain.10"]) / 90
    check(abs(far / near - 1) <= 0.2, f"an object costs {near:.0f} instructions near the top, {far:.0f} far down")
    check(v["chain.object"] <= 0.5 * v["chain.1"], f"an object costs {v['chain.object']:.0f} instructions")


@test
def the_trace_costs_little(runs):
    v = runs["first"].values
    check(v["trace.off"] <= 8, f"an event costs {v['trace.off']} instructions while the trace is off")
    check(v["trace.on"] <= 200, f"an event costs {v['trace.on']} instructions while it is on")


def main():
    image = run.fresh(os.path.join(run.IMAGES, "bench.img"), mkimage.build_bench, "mkimage.py", "volume.py")
    with tempfile.TemporaryDirectory(prefix="faultline-bench-") as scratch:
        runs = {"first": Run(image, scratch, "first", "bench"), "second": Run(image, scratch, "second", "bench")}
        runs["first"].finish(), runs["second"].finish()
        runs[SMALL] = Run(image, scratch, SMALL, f"bench={SMALL}", mem="32M").finish()
    failed = 0
    print(f"1..{len(TESTS)}")
    for number, function in enumerate(TESTS, 1):
        try:
            function(runs)
            print(f"ok {number} - bench.{function.__name__}")
        except (AssertionError, KeyError) as e:
            failed += 1
            print(f"not ok {number} - bench.{function.__name__}\n# {e!s}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
