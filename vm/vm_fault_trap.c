/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Page faults as the processor reports them, and as the user sees how they end.
 *
 *	trap handler --> vm_fault_trap --> vm_fault (vm_fault.c)
 *	                      |  KERN_* that is no success
 *	                      +--> fault_explain: signal, code and address; copyin and copyout make EFAULT of it
 *
 * This is the one place where results of vm_fault() become signals.  Nothing is locked here.
 */
#include "vm/vm_fault.h"

#include "kernel/amd64/cpu.h"
#include "kernel/clock.h"
#include "kernel/lib/errno.h"
#include "kernel/thread.h"
#include "kernel/stage.h"
#include "vm/vm_map.h"
#include "vm/vm_meter.h"

#define SIGBUS		7
#define SIGKILL		9
#define SIGSEGV		11
#define SEGV_MAPERR	1
#define SEGV_ACCERR	2
#define BUS_ADRERR	2

/*
 * What the user sees.  A bad sector is SIGBUS like what lies past EOF, as on Linux; who gets no memory is
 * ended (vm_oom.c).
 */
static void
fault_explain(int kr, vm_offset_t addr, struct fault_info *why)
{
	why->addr = addr;
	switch (kr) {
	case KERN_PROTECTION_FAILURE:
		why->signo = SIGSEGV;
		why->code = SEGV_ACCERR;
		break;
	case KERN_OUT_OF_BOUNDS:
	case KERN_IO_ERROR:
		why->signo = SIGBUS;
		why->code = BUS_ADRERR;
		break;
	case KERN_RESOURCE_SHORTAGE:
		why->signo = SIGKILL;
		why->code = 0;
		break;
	default:
		why->signo = SIGSEGV;
		why->code = SEGV_MAPERR;
		break;
	}
}

int
vm_fault_trap(struct vmspace *vm, vm_offset_t addr, uint32_t pf_error, struct fault_info *why)
{
	vm_prot_t type = pf_error & PF_WRITE ? VM_PROT_WRITE : pf_error & PF_FETCH ? VM_PROT_EXECUTE : VM_PROT_READ;
	uint64_t start = trace_on ? clock_ns() : 0;
	int flags = pf_error & PF_PRESENT ? VM_FAULT_ALONE : 0;
	int kr;

	STAGE_MARK(FAULT_ENTER, addr, type);
	TRACE(TR_FAULT_ENTER, addr, curthread->frame != NULL ? curthread->frame->rip : 0, &vm->map, pf_error);
	kr = vm_fault(&vm->map, addr, type, flags, NULL);
	if (kr == KERN_INVALID_ADDRESS && vm_map_grow(&vm->map, addr))
		kr = vm_fault(&vm->map, addr, type, flags, NULL);
	STAGE_MARK(FAULT_RETURN, addr, kr);
	TRACE(TR_FAULT_RETURN, addr, kr, clock_ns() - start, 0);
	if (kr == KERN_SUCCESS)
		return (0);
	fault_explain(kr, addr, why);
	return (EFAULT);
}

void
vm_fault_declined(struct vmspace *vm, vm_offset_t addr, uint32_t pf_error, uint64_t rip)
{
	VMCNT_INC(v_vm_faults);
	VMCNT_INC(v_failed_faults);
	TRACE(TR_FAULT_ENTER, addr, rip, vm != NULL ? &vm->map : NULL, pf_error);
	TRACE(TR_FAULT_RETURN, addr, KERN_RESTART, 0, 0);
}
