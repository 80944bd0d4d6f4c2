# SPDX-License-Identifier: BSD-2-Clause
"""Judge one run: does its log say what its exit status says?

Four witnesses must agree before a run counts as passed: the exit status, the TAP plan `1..N`, the
`ok` and `not ok` lines, and the closing `N passed, N failed[, N skipped]`.  Any disagreement is a
failed test of its own.  An abnormal end (panic, hang, triple fault, QEMU's failure) is named as
itself, and the truncated log that follows from it is not counted again.
"""

import re

ABNORMAL = {124: "hang: the run hit its timeout", 125: "QEMU failed or the guest gave no status",
            126: "panic", 127: "triple fault"}
RESULT = re.compile(r"^(not ok|ok) (\d+) - (\S+)(?:\s+# SKIP\s*(.*))?$")
CLOSING = re.compile(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$")
PLAN = re.compile(r"^1\.\.(\d+)$")


class Verdict:
    """What one run proved.

    passed, skipped: names; failed: [(name, diagnostic lines)] of the run's own tests;
    problems: sentences about the run as a whole, each of them a failed test.
    """

    def __init__(self):
        self.passed, self.skipped, self.failed, self.problems = [], [], [], []

    @property
    def good(self):
        return not self.failed and not self.problems and bool(self.passed or self.skipped)


def judge(text, status, closing_line=True):
    """
    closing_line: the log is a kernel's, which ends with one; the kernel prints diagnostics when they happen, so they stand
    before their `not ok`.  A script prints them behind it.
    """
    v = Verdict()
    plan, closing, numbers, names, pending = [], [], [], [], []
    last_failed = False
    for line in text.replace("\r", "").split("\n"):
        line = line.rstrip()
        result = RESULT.match(line)
        if result:
            word, number, name, skip = result.groups()
            numbers.append(int(number))
            names.append(name)
            if word == "not ok":
                v.failed.append((name, pending))
            elif skip is not None:
                v.skipped.append(name)
            else:
                v.passed.append(name)
            last_failed = word == "not ok"
            pending = []
        elif PLAN.match(line):
            plan.append(int(PLAN.match(line).group(1)))
        elif CLOSING.match(line):
            closing.append(tuple(int(n or 0) for n in CLOSING.match(line).groups()))
        elif line.startswith("#") and closing_line:
            pending.append(line)
        elif line.startswith("#") and last_failed:
            v.failed[-1][1].append(line)

    if status in ABNORMAL:
        v.problems.append(ABNORMAL[status])
        return v
    if status == 2 and not numbers:
        v.problems.append("no test matches the glob")
        return v
    if len(plan) != 1:
        v.problems.append("no TAP plan in the log" if not plan else f"{len(plan)} TAP plans in the log")
    elif plan[0] != len(numbers):
        v.problems.append(f"truncated log: the plan says {plan[0]} tests, {len(numbers)} reported")
    elif sorted(numbers) != list(range(1, len(numbers) + 1)):
        v.problems.append("the tests' numbers are not 1 to the plan's end")
    for name in sorted({n for n in names if names.count(n) > 1}):
        v.problems.append(f"the test {name} reported more than once")
    counted = (len(v.passed), len(v.failed), len(v.skipped))
    if closing_line and not closing:
        v.problems.append("truncated log: the closing `N passed, N failed` line is missing")
    elif closing_line and len(closing) > 1:
        v.problems.append(f"{len(closing)} closing lines in the log")
    elif closing and closing[-1] != counted:
        v.problems.append("lying log: the closing line says {}, {}, {} passed, failed, skipped; ".format(*closing[-1]) +
                          "the tests' own lines say {}, {}, {}".format(*counted))
    expected = 1 if v.failed else 0
    if status != expected:
        v.problems.append(f"lying log: it reports {len(v.failed)} failed, but the exit status is {status}")
    if not numbers and not v.problems:
        v.problems.append("the run tested nothing")
    return v
