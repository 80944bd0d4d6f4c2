# Commands that look at Faultline's virtual memory: `help vm`.  `make gdb` loads this file; by hand, from the top folder:
#	gdb -nx -x .gdbinit build/kernel.elf
set confirm off
set print pretty on
# A program without symbols (`vm user` loads them) is a stack of words that look like frames, without end.
set backtrace limit 100
source tests/gdb/vm.py
