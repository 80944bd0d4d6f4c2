#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Debian's programs where it hurts: more work than memory, databases whose writer is killed, trees of thousands of files.

Each test boots a disk with the programs of programs.py on it and a script in /root/all, which the guest's busybox runs as the
first process.  What the work must come to, the host says: by doing the same with its own programs, or by looking into the
volume that was left behind.
"""

import os
import random
import re
import subprocess
import sys

sys.dont_write_bytecode = True
import guest  # noqa: E402
import mkimage  # noqa: E402
import volume  # noqa: E402
from guest import check, equal  # noqa: E402

MIB = 1 << 20
SEED = int(os.environ.get("SEED") or random.randrange(1, 1 << 31))
NOISE = re.compile(r"^\S+\[\d+\]: system call \d+ ")     # the kernel's own lines


def make_disk(name, script, files=(), size=256 * MIB):
    """A disk with the programs, the script and more files in /root -> its path.  files: (name, path on the host)."""
    mkimage.populate_root()
    disk, text = guest.scratch(name), guest.scratch(name + ".sh")
    volume.mke2fs(disk, 4096, size, mkimage.ROOT_DIR)
    with open(text, "w", encoding="utf-8") as f:
        f.write("export PATH=/usr/bin:/bin LC_ALL=C TMPDIR=/root TZ=UTC\ncd /root\n" + script)
    for inside, path in (("all", text), *files):
        volume.debugfs(disk, f"write {path} /root/{inside}", write=True)
    return disk


def run(disk, *options, words=(), timeout=270):
    """Boot and run the script to its end -> {what follows a line `== NAME`: its lines}."""
    ended = guest.Run("--disk", disk, *options, words=[*words, "init=/bin/sh", "--", "/root/all"], timeout=timeout)
    equal(f"the status ({ended.err.strip()}; {ended.out[-600:]!r})", ended.status, 0)
    parts, at = {}, None
    for line in ended.out.split("\n"):
        if line.startswith("== "):
            at = parts.setdefault(line[3:], [])
        elif at is not None and not NOISE.match(line):
            at.append(line)
    check("end" in parts, f"the script did not come to its end: {ended.out[-600:]!r}")
    volume.fsck_clean(disk)
    return parts


# ---- more than memory -----------------------------------------------------------------------------

SQL = """
pragma journal_mode=wal; pragma mmap_size=30000000;
create table t(a integer primary key, b, c);
with recursive n(i) as (values(1) union all select i+1 from n where i<6000)
    insert into t select i, i*7919%30011, hex(zeroblob(100))||i from n;
create index ti on t(b); select count(*), sum(a*b) from t;
update t set b=b+1 where a%3=0; select sum(b) from t; pragma integrity_check;
"""
# Each part's lines go to a file of its own; together they want twice the memory that there is.
PRESSURE = """
(/usr/bin/sort -S 30M lines >sorted; echo $?; md5sum <sorted; /usr/bin/sort -c sorted && echo in order) >1 2>&1 &
sqlite3 x.db <sql >2 2>&1 &
(i=0; while [ $i -lt 25 ]; do seq $i $((i+1000)) | awk '{s+=$1*$1} END {print s}' >f$i; i=$((i+1)); done; cat f* | md5sum) >3 2>&1 &
wait
echo == sort; cat 1; echo == sqlite; cat 2; echo == loop; cat 3; echo == vmstat; cat /proc/vmstat; echo == end
"""


def host_answer(script, **files):
    """What the host's programs print for a piece of a script, in a folder with these files (name: content)."""
    folder = guest.scratch("host")
    os.makedirs(folder, exist_ok=True)
    for name, content in files.items():
        with open(os.path.join(folder, name), "wb") as f:
            f.write(content)
    done = subprocess.run(["/bin/busybox", "sh", "-c", script], cwd=folder, stdout=subprocess.PIPE, check=True,
                          env={"PATH": os.environ["PATH"], "LC_ALL": "C"})
    return done.stdout.decode().strip().split("\n")


def under_pressure(*options):
    """A sort of a file larger than memory, a database and a shell loop at once, in 32 MiB with swap."""
    rng, lines, size = random.Random(SEED), [], 0
    while size < 33 * MIB:
        lines.append(b"%08x %s\n" % (rng.getrandbits(32), b"x" * rng.randrange(200)))
        size += len(lines[-1])
    path, sql, swap = guest.scratch("lines"), guest.scratch("sql"), guest.scratch("swap.img")
    with open(path, "wb") as f:
        f.writelines(lines)
    with open(sql, "w", encoding="utf-8") as f:
        f.write(SQL)
    with open(swap, "wb") as f:
        f.truncate(128 * MIB)
    disk = make_disk("pressure.img", PRESSURE, [("lines", path), ("sql", sql)])
    parts = run(disk, "--disk", swap, "--mem", "32M", *options, words=["swap=vdb"])
    sums = host_answer("sort lines | md5sum; i=0; while [ $i -lt 25 ]; do seq $i $((i+1000)) | awk '{s+=$1*$1} END {print s}' >f$i; "
                       "i=$((i+1)); done; cat f* | md5sum; rm -f x.db*; sqlite3 x.db <sql", lines=b"".join(lines), sql=SQL.encode())
    equal("sort", parts["sort"], ["0", sums[0], "in order"])
    equal("the shell loop", parts["loop"], [sums[1]])
    equal("sqlite", parts["sqlite"], sums[2:])
    equal("sqlite's last word", parts["sqlite"][-1], "ok")
    counters = dict(line.split() for line in parts["vmstat"] if line)
    check(int(counters["v_swappgsout"]) > 2000 and int(counters["v_swappgsin"]) > 1000,
          f"this was no pressure: {counters['v_swappgsout']} pages to swap, {counters['v_swappgsin']} back")


@guest.test
def sort_sqlite_and_a_shell_loop_share_32_mib():
    under_pressure()


@guest.test
def and_so_they_do_on_two_cpus():
    under_pressure("--smp", "2")


# ---- a database's writer is killed ----------------------------------------------------------------

KILLS = 4
ROWS = 300
# One transaction.  The small cache makes sqlite write into the database before the commit.  Only what is committed gets a file.
TRANSACTION = f"""
begin; insert into head select coalesce(max(n), 0) + 1 from head;
with recursive i(k) as (values(1) union all select k+1 from i where k<{ROWS}) insert into t select (select max(n) from head), k, hex(randomblob(60)) from i;
update t set c = hex(randomblob(60)) where b % 7 = 0; commit; select writefile('done-' || max(n), 'x') from head;
"""
MODES = {"rollback": "pragma journal_mode=delete;", "wal": "pragma journal_mode=wal;",
         "rollback-mmap": "pragma journal_mode=truncate; pragma mmap_size=100000000;",
         "wal-mmap": "pragma journal_mode=wal; pragma mmap_size=100000000;"}
# ls says so when a journal that it has listed is gone before it looks at it.
KILLER = """
for mode in %s; do
	mkdir $mode; cd $mode
	sqlite3 x.db "$(cat ../$mode.sql) create table head(n integer primary key); create table t(a, b, c, primary key(a, b));" >/dev/null
	kills=0; hot=0
	while [ $kills -lt %d ]; do
		before=$(ls 2>/dev/null | grep -c done-)
		cat ../$mode.sql ../work.sql | sqlite3 x.db >/dev/null 2>err &
		until [ $(ls 2>/dev/null | grep -c done-) -gt $before ]; do sleep 0.02; done
		sleep 0.0$((kills * 3 + 1))
		kill -9 $!; wait $! 2>/dev/null
		[ -s x.db-journal ] || [ -s x.db-wal ] && hot=$((hot+1))
		kills=$((kills+1))
	done
	cp x.db* ..; for f in ../x.db*; do mv $f ../killed-$mode-${f##*/}; done
	echo == $mode; echo hot $hot; cat err; ls | sed -n 's/^done-//p' | sort -n | tail -1
	sqlite3 x.db "pragma integrity_check; select count(*), max(n) from head; select count(*), count(distinct a) from t;
	    select a from t group by a having count(*) <> %d;"
	cd ..
done
echo == end
"""


def judge_killed(mode, lines):
    """What the survivors say: hot journals, the last file, the check, and counts."""
    hot, last, intact, heads, rows = lines[:5]
    equal(f"{mode}: incomplete transactions", lines[5:], [])
    equal(f"{mode}: integrity", intact, "ok")
    count, newest = map(int, heads.split("|"))
    equal(f"{mode}: transactions in a row", count, newest)
    equal(f"{mode}: rows of complete transactions", rows, f"{newest * ROWS}|{newest}")
    check(int(last) <= newest <= int(last) + 1, f"{mode}: transaction {last} was done, and {newest} is the newest there")
    check(newest >= KILLS, f"{mode}: only {newest} transactions for {KILLS} kills")
    check(int(hot.split()[1]) > 0, f"{mode}: no kill found a transaction under way")


@guest.test
def a_database_survives_its_writers_death():
    """kill -9 amid transactions, in each journal mode; the host's sqlite3 judges what the last kill left, too."""
    work = guest.scratch("work.sql")
    with open(work, "w", encoding="utf-8") as f:
        f.write("pragma cache_size=12;\n" + TRANSACTION * 200)
    files = [("work.sql", work)]
    for mode, pragmas in MODES.items():
        with open(guest.scratch(mode + ".sql"), "w", encoding="utf-8") as f:
            f.write(pragmas + "\n")
        files.append((mode + ".sql", guest.scratch(mode + ".sql")))
    disk = make_disk("killed.img", KILLER % (" ".join(MODES), KILLS, ROWS), files)
    parts = run(disk)
    for mode in MODES:
        judge_killed(mode, parts[mode])
        left = guest.scratch("left-" + mode)
        os.makedirs(left)
        for name in re.findall(rf"/killed-{mode}-(x\.db[a-z-]*)/", volume.debugfs(disk, "ls -p /root")):
            volume.debugfs(disk, f"dump /root/killed-{mode}-{name} {left}/{name}")
        check(os.path.getsize(f"{left}/x.db") > 0, f"{mode}: nothing was left")
        answer = subprocess.run(["sqlite3", f"{left}/x.db", f"pragma integrity_check; select count(*) from t group by a having count(*) <> {ROWS}"],
                                stdout=subprocess.PIPE, check=True).stdout.decode()
        equal(f"{mode}: what the host makes of what was left", answer, "ok\n")


if __name__ == "__main__":
    sys.exit(guest.main("workloads"))
