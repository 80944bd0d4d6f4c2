# SPDX-License-Identifier: BSD-2-Clause
"""The programs on the default disk: Debian's own binaries, copied from this machine's installed packages.

    /bin/busybox        busybox-static, with a link for each of its applets: the shell and its tools
    /usr/bin/...        dash, the coreutils and sqlite3, dynamically linked
    /lib, /lib64        the libraries that those ask for (ldd says which), and the dynamic linker

Nothing is downloaded and nothing is kept: the folder that the disk is made of gets what it lacks, and the files whose text
is in this script are brought up to date.  A package that is not
installed is left out, with a sentence.
"""

import os
import re
import shutil
import subprocess
import sys

PACKAGES = ("dash", "coreutils", "sqlite3")
BUSYBOX = "/bin/busybox"
FOLDERS = ("bin", "dev", "etc", "lib", "lib64", "proc", "root", "tmp", "usr/bin", "usr/sbin", "sbin", "var/tmp")

PROFILE = """\
export PS1='faultline:\\w\\$ ' HOME=/root
alias poweroff='poweroff -f' reboot='reboot -f' ll='ls -l'
cd /root
cat /etc/motd
"""
MOTD = """\

This is a shell: Debian's busybox, unchanged, paged in from ext2 by Faultline's vnode pager.

  ls -l /bin                   its applets; /usr/bin has Debian's coreutils, dash and sqlite3
  cat /proc/self/maps          what is mapped where in the program that you run
  cat /proc/vmstat             what that cost: faults, page-ins, copies
  dd if=/dev/zero of=/tmp/big bs=1M count=16; sync; md5sum /tmp/big
  sqlite3 /tmp/x.db 'create table t(a); insert into t values(42); select * from t'
  poweroff                     or Ctrl-D

On the host: `make run ARGS=monitor` for the kernel's own prompt, `make gdb` to watch a fault step by step.
"""
FILES = {"etc/motd": MOTD, "etc/profile": PROFILE, "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
         "etc/group": "root:x:0:\n"}


def output(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True, text=True).stdout


def copy(source, root, name):
    """A file, or what a link leads to, under its name below root, unless there is one."""
    target = os.path.join(root, name.lstrip("/"))
    if not os.path.lexists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copyfile(os.path.realpath(source), target)
        shutil.copymode(os.path.realpath(source), target)


def is_dynamic(program):
    """ldd fails for a program that is linked statically."""
    return subprocess.run(["ldd", program], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0


def libraries(program):
    """The files that the dynamic linker will want, itself included -> absolute names."""
    return re.findall(r"(/\S+) \(0x", output("ldd", program))


def put(root, name, content):
    """A file that is made here, which an older version of this script may have made otherwise."""
    path = os.path.join(root, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if os.path.isfile(path):
        with open(path, "rb") as f:
            if f.read() == content:
                return
    with open(path, "wb") as f:
        f.write(content)


def link(root, name, target):
    path = os.path.join(root, name)
    if not os.path.lexists(path):
        os.symlink(target, path)


def add_busybox(root):
    copy(BUSYBOX, root, "bin/busybox")
    for applet in output(BUSYBOX, "--list").split():
        link(root, f"bin/{applet}", "busybox")


def add_package(root, package):
    """The programs of a package and what they need."""
    for name in output("dpkg", "-L", package).split("\n"):
        if not re.fullmatch(r"(/usr)?/bin/[^/]+", name) or not os.path.isfile(name):
            continue
        target = "usr/bin/" + os.path.basename(name)
        if os.path.islink(name):
            link(root, target, os.path.basename(os.readlink(name)))
            continue
        copy(name, root, target)
        with open(name, "rb") as f:
            if f.read(4) != b"\x7fELF":
                continue
        for library in libraries(name):
            copy(library, root, library)


def populate(root):
    """Put the programs into the folder of which the default disk is made."""
    for folder in FOLDERS:
        os.makedirs(os.path.join(root, folder), exist_ok=True)
    for name, text in FILES.items():
        put(root, name, text.encode())
    if not os.path.exists(BUSYBOX) or is_dynamic(BUSYBOX):
        print("programs: busybox-static is not installed: no shell on the disk; make setup installs it", file=sys.stderr)
        return
    add_busybox(root)
    for package in PACKAGES:
        try:
            add_package(root, package)
        except subprocess.CalledProcessError:
            print(f"programs: the package {package} is not installed: left out", file=sys.stderr)
