#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Debian's programs inside: an interactive shell with job control, and scripts whose output the host's busybox confirms.

The disk is the default one (programs.py).  What a script prints here must be, byte for byte, what the same busybox prints
on the host's Linux in an empty folder.
"""

import os
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
import guest  # noqa: E402
import volume  # noqa: E402
from guest import check, contains, equal  # noqa: E402

PROMPT = b"\x1b[6n"         # busybox asks the terminal where its cursor is, after each prompt
NOISE = ("system call ",)   # the kernel's own lines between a program's

# Each runs in an empty folder and prints nothing that depends on time, numbers of processes or the machine.
SCRIPTS = {
    "pipes_and_redirections": """
        echo one >a; echo two >>a; cat <a; cat a a | wc -l
        for i in 3 1 2; do echo $i; done | sort -r | tr '\\n' ' '; echo
        seq 1 1000 | awk '{s+=$1} END {print s}'
        (echo out; echo err >&2) 2>&1 | sort
        cat nothing 2>/dev/null || echo $?
        { sleep 0.1; echo late; } & wait; echo waited
        x=$(echo inner | sed s/inner/outer/); echo $x
        yes | head -3; echo ${PIPESTATUS:-}
    """,
    "a_tree_of_thousands_of_files": """
        i=0; while [ $i -lt 10 ]; do mkdir -p tree/d$i/sub; j=0
        while [ $j -lt 300 ]; do echo "file $i $j" >tree/d$i/f$j; j=$((j+1)); done; i=$((i+1)); done
        find tree -type f | wc -l; find tree -name 'f7*' | sort | head -5; ls -R tree | md5sum; ls -l tree/d1 | awk '{s+=$5} END {print s}'
        cp -r tree copy; find copy | sort | md5sum; grep -rl 'file 3 9' copy | sort | head -3
        tar cf t.tar tree; tar tf t.tar | wc -l; gzip -c t.tar | gunzip -c | cmp - t.tar && echo same
        mkdir x; tar xf t.tar -C x; find x/tree -type f | sort | xargs cat | md5sum
        find copy -type f | sort | xargs md5sum | sort -r | md5sum; find copy -type f | sort | xargs sed -i 's/file/line/'
        find copy -type f | xargs cat | sort -n -k 3 -k 2 | sed 's/line \\([0-9]*\\) \\(.*\\)/\\2:\\1/' | awk -F: '{s+=$1*$2} END {print NR, s}'
        for n in 1 20 299; do dd if=copy/d$((n%10))/f$n bs=3 skip=1 2>/dev/null; done; diff -r tree x/tree && echo no difference
        ls -a copy/d3 | sort | head -4; rm -r tree copy x; ls
    """,
    "names_links_and_modes": """
        echo data >f; ln f hard; ln -s f soft; ln -s nowhere dangling; mkdir -p d/e; stat -c '%s %F %h' f soft d dangling
        readlink soft; cat soft; mv f d/g; cat soft 2>&1; cat hard d/g; chmod 640 hard; stat -c %a hard d/g
        mv d moved; ls -R moved; cd moved/e; pwd | sed 's,.*/moved,moved,'; cd ../..; rmdir moved 2>&1 | sed 's/.*: //'
        touch -d '2001-02-03 04:05:06' old; stat -c %Y old; rm -f dangling soft; ls
        mkdir -p a/b/c; cd a/b/c; cd ../../..; cp -a moved a; find a | sort; test -e a/moved/g && echo there
    """,
    "data": """
        dd if=/dev/zero bs=4096 count=300 2>/dev/null | tr '\\0' 'x' >big; wc -c <big; md5sum <big
        dd if=/dev/zero of=sparse bs=1 count=1 seek=5000000 2>/dev/null; wc -c <sparse; md5sum <sparse
        for n in 0 1 2; do dd if=big of=part$n bs=409600 skip=$n count=1 2>/dev/null; done; cat part? | cmp - big && echo same; head -c 10 big; echo; tail -c 3 big; echo
        dd if=big of=copy bs=1000 skip=3 count=7 2>/dev/null; wc -c <copy; truncate -s 100 big; wc -c <big
        printf 'b\\na\\nc\\n' | sort | uniq -c | sed 's/ //g'; od -c copy | head -2; cut -c1-3 copy | head -1
        i=0; while [ $i -lt 2000 ]; do echo $((i*7919%2003)); i=$((i+1)); done | sort -n | md5sum
    """,
}


class Shell:
    """An interactive shell on a disk of its own, given a line at a time."""

    def __init__(self, *options, timeout=120):
        subprocess.run(["cp", "--sparse=always", guest.mkimage.ensure_default(), guest.scratch("shell.img")], check=True)
        command = [os.path.join(guest.TOP, "boot", "qemu"), "--kernel", guest.KERNEL, "--log", guest.scratch("qemu.log"),
                   "--timeout", str(timeout), "--disk", guest.scratch("shell.img"), *options, "--", "init=/bin/sh", "--", "-l"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            self.greeting = self.answer()
        except guest.Wrong:
            self.process.kill()
            raise

    def answer(self):
        """What comes up to the next prompt, without the prompt's own line."""
        text = b""
        while not text.endswith(PROMPT):
            byte = self.process.stdout.read(1)
            check(byte, f"the machine ended: {text[-400:]!r}")
            text += byte
        lines = text.decode(errors="replace").replace("\r", "").split("\n")
        return [line for line in lines[:-1] if not any(n in line for n in NOISE)]

    def send(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def run(self, line):
        """The lines that a command prints; the first is the echo of its own."""
        self.send(line.encode() + b"\n")
        return self.answer()[1:]

    def wait_for(self, part):
        """Until a running command has printed this."""
        text = b""
        while part not in text:
            byte = self.process.stdout.read(1)
            check(byte, f"the machine ended: {text[-400:]!r}")
            text += byte

    def end(self, line):
        self.send(line)
        self.process.communicate()
        volume.fsck_clean(guest.scratch("shell.img"))
        return self.process.returncode


@guest.test
def motd_greets_and_exit_is_the_machines_status():
    shell = Shell()
    contains("the greeting", "\n".join(shell.greeting), "This is a shell")
    equal("tty", shell.run("tty"), ["/dev/console"])
    equal("the status of `exit 7`", shell.end(b"exit 7\n"), 7)
    equal("the status after Ctrl-D", Shell().end(b"\x04"), 0)
    equal("the status of poweroff", Shell().end(b"poweroff\n"), 0)


@guest.test
def job_control():
    shell = Shell()
    # Each command says when it runs: a key that comes earlier would be the shell's.
    shell.send(b"echo go; sleep 1000\n")
    shell.wait_for(b"\ngo")
    time.sleep(0.5)     # between `go` and the fork nothing can be seen from outside; a key that comes too early only
    shell.send(b"\x03")     # ends the line, and then the next check fails
    shell.answer()
    equal("the status after Ctrl-C", shell.run("echo $?"), ["130"])
    shell.send(b"echo go; sleep 1000\n")
    shell.wait_for(b"\ngo")
    time.sleep(0.5)
    shell.send(b"\x1a")
    contains("Ctrl-Z", "\n".join(shell.answer()), "Stopped")
    contains("jobs", "\n".join(shell.run("jobs")), "Stopped")
    contains("bg", "\n".join(shell.run("bg; jobs")), "sleep 1000")
    top = shell.run("top -bn1")
    check(any(line.split()[1:2] == ["1"] and line.endswith("sleep 1000") for line in top), f"top shows no sleep: {top!r}")
    contains("another's maps", "\n".join(shell.run("cat /proc/$(pidof sleep)/maps")), "r-xp 00001000 00:00")
    shell.run("kill %1; wait")
    equal("no job is left", [line for line in shell.run("jobs") if "Running" in line or "Stopped" in line], [])
    contains("a background pipeline", "\n".join(shell.run("(sleep 0.1; echo done) | cat & wait")), "done")
    equal("the end", shell.end(b"exit\n"), 0)


@guest.test
def dynamic_programs():
    shell = Shell()
    equal("dash in a pipe with cat", shell.run("/usr/bin/dash -c 'echo $((6*7)) | /usr/bin/cat'"), ["42"])
    equal("coreutils", shell.run("/usr/bin/seq 5 | /usr/bin/sort -rn | /usr/bin/tr '\\n' ,; echo"), ["5,4,3,2,1,"])
    equal("ls", shell.run("/usr/bin/ls -d /usr/bin /tour"), ["/tour  /usr/bin"])
    # One database on ext2, one on tmpfs.
    for mode, folder in (("delete", "/root"), ("wal", "/root"), ("wal", "/tmp")):
        sql = (f"pragma journal_mode={mode}; pragma mmap_size=1000000; create table t(a integer primary key, b); "
               f"with recursive n(i) as (values(1) union all select i+1 from n where i<2000) insert into t "
               f"select i, i*i from n; select sum(b) from t; pragma integrity_check;")
        answer = [line for line in shell.run(f'rm -f {folder}/x.db; sqlite3 {folder}/x.db "{sql}"') if "select" not in line]
        equal(f"sqlite3, {mode} in {folder}", answer[-2:], ["2668667000", "ok"])
    equal("the end", shell.end(b"exit\n"), 0)


@guest.test
def what_is_typed_ahead_reaches_the_shell():
    """All of it is there before the machine is, and more than the terminal keeps: the UART holds the rest back."""
    disk = guest.scratch("ahead.img")
    subprocess.run(["cp", "--sparse=always", guest.mkimage.ensure_default(), disk], check=True)
    lines = [f"x=$((${{x:-0}}+{n})) # {'-' * 40}" for n in range(150)] + ["echo sum=$x", "exit 5"]
    ended = guest.Run("--disk", disk, words=["init=/bin/sh", "--", "-l"], stdin=("\n".join(lines) + "\n").encode(), timeout=120)
    equal(f"the status ({ended.out[-300:]!r})", ended.status, 5)
    contains("the answer", ended.out, f"\nsum={sum(range(150))}\n")


def host_output(script):
    """What the host's busybox prints, with nothing but its own applets to be found."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as applets:
        subprocess.run(["/bin/busybox", "--install", "-s", applets], check=True)
        return subprocess.run(["/bin/busybox", "sh", "-c", script], cwd=folder, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False, env={"PATH": applets, "TZ": "UTC"}).stdout.decode()


@guest.test
def scripts_print_what_they_print_on_linux():
    """All of them in one boot, each in a folder of its own; the host's busybox has to find its applets first."""
    disk = guest.scratch("scripts.img")
    root = guest.scratch("scripts")
    os.makedirs(root)
    body = "set -u\nexport TZ=UTC PATH=/bin\n"
    for name, script in SCRIPTS.items():
        with open(os.path.join(root, name), "w", encoding="utf-8") as f:
            f.write(script)
        body += f"mkdir /root/w-{name}; cd /root/w-{name}; echo ==== {name}; busybox sh /root/{name} 2>&1 | cat\n"
    with open(os.path.join(root, "all"), "w", encoding="utf-8") as f:
        f.write(body + "echo ==== end\n")
    subprocess.run(["cp", "--sparse=always", guest.mkimage.ensure_default(), disk], check=True)
    for name in os.listdir(root):
        volume.debugfs(disk, f"write {os.path.join(root, name)} /root/{name}", write=True)
    ended = guest.Run("--disk", disk, words=["init=/bin/sh", "--", "/root/all"], timeout=200)
    equal(f"the status ({ended.err})", ended.status, 0)
    parts = ended.out.split("==== ")
    got = {part.partition("\n")[0]: part.partition("\n")[2] for part in parts}
    check("end" in got, f"the scripts did not come to their end: {ended.out[-400:]!r}")
    for name, script in SCRIPTS.items():
        here = [line for line in got.get(name, "").split("\n") if not any(n in line for n in NOISE)]
        equal(f"what {name} prints", here, host_output(script).split("\n"))
    volume.fsck_clean(disk)


if __name__ == "__main__":
    sys.exit(guest.main("shell"))
