# Commands that look at Faultline's virtual memory: `help vm`.  `make gdb` loads this file; by hand, from the top folder:
#	gdb -nx -x .gdbinit build/kernel.elf
set confirm off
set print pretty on
source tests/gdb/vm.py
