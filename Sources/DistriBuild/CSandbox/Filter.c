// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

// The filter of system calls, a program for the kernel's packet filter: no way into other namespaces or to the kernel's
// rarely trodden parts. What it refuses fails with an error, so that a configure script goes on without.
//
// Allowed on purpose: ptrace and process_vm_readv (strace and debuggers; there is nothing to see but the build's own
// processes, since the first one cannot be looked into), chmod with setuid bits (what is installed is judged afterwards).

#define _GNU_SOURCE
#include "FirstProcess.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_open_tree_attr
#define SYS_open_tree_attr 467
#endif
#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif

// The last call that this list knows. Later ones are as if the kernel was older.
enum { NEWEST_CALL = 469, I386_SOCKETCALL = 102, SOCKETCALL_SOCKET = 1, X32_CALLS = 0x40000000 };

// The namespaces of clone(2); CLONE_NEWTIME is none of its flags, its bit belongs to the exit signal.
#define NAMESPACES \
  (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET)

// PER_LINUX32, UNAME26, ADDR_NO_RANDOMIZE, ADDR_COMPAT_LAYOUT, ADDR_LIMIT_32BIT, ADDR_LIMIT_3GB: how programs are laid
// out in memory. Not among them: pages at address zero, and data that can be executed.
enum { HARMLESS_PERSONALITY = 0x8 | 0x20000 | 0x40000 | 0x200000 | 0x800000 | 0x8000000 };

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define ARGUMENT(n) LOAD(args[n]) // the lower half: both machines are little-endian
#define GIVE(error) BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (error))
#define PASS BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define MASK(bits) BPF_STMT(BPF_ALU | BPF_AND | BPF_K, (bits))
#define EQUAL(value, then, otherwise) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), (then), (otherwise))
#define ABOVE(value, then, otherwise) BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, (value), (then), (otherwise))
#define ANY_BIT(bits, then, otherwise) BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, (bits), (then), (otherwise))

#define REFUSE(number, error) EQUAL(number, 0, 1), GIVE(error)
#define REFUSE_BITS(number, argument, bits) \
  EQUAL(number, 0, 4), ARGUMENT(argument), ANY_BIT(bits, 0, 1), GIVE(EPERM), PASS
#define REFUSE_DEVICES(number, mode) \
  EQUAL(number, 0, 6), ARGUMENT(mode), MASK(S_IFMT), EQUAL(S_IFCHR, 1, 0), EQUAL(S_IFBLK, 0, 1), GIVE(EPERM), PASS
#define RESTRICT_PERSONALITY(number) \
  EQUAL(number, 0, 6), ARGUMENT(0), EQUAL(0xffffffff, 2, 0), MASK(~(uint32_t)HARMLESS_PERSONALITY), EQUAL(0, 0, 1), PASS, \
    GIVE(EPERM)
// Typing into the terminal that the build was started from, and line disciplines, which are modules of the kernel.
#define RESTRICT_IOCTL(number) \
  EQUAL(number, 0, 6), ARGUMENT(1), EQUAL(TIOCSTI, 2, 0), EQUAL(TIOCLINUX, 1, 0), EQUAL(TIOCSETD, 0, 1), GIVE(EPERM), PASS
// Others are not bound to a network namespace (AF_VSOCK), or code that nobody else needs.
#define RESTRICT_SOCKET(number) \
  EQUAL(number, 0, 10), ARGUMENT(0), EQUAL(AF_UNIX, 6, 0), EQUAL(AF_INET, 5, 0), EQUAL(AF_INET6, 4, 0), \
    EQUAL(AF_NETLINK, 1, 0), GIVE(EAFNOSUPPORT), ARGUMENT(2), EQUAL(0 /* NETLINK_ROUTE */, 0, 1), PASS, \
    GIVE(EPROTONOSUPPORT)

// Refused whatever the arguments: the name, and the number among the calls of i386.
#define REFUSED(CALL) \
  CALL(mount, 21) CALL(umount2, 52) CALL(pivot_root, 217) CALL(chroot, 61) CALL(open_tree, 428) CALL(move_mount, 429) \
  CALL(fsopen, 430) CALL(fsconfig, 431) CALL(fsmount, 432) CALL(fspick, 433) CALL(mount_setattr, 442) \
  CALL(open_tree_attr, 467) CALL(setns, 346) CALL(keyctl, 288) CALL(add_key, 286) CALL(request_key, 287) CALL(bpf, 357) \
  CALL(perf_event_open, 336) CALL(userfaultfd, 374) CALL(kexec_load, 283) CALL(init_module, 128) \
  CALL(finit_module, 350) CALL(delete_module, 129) CALL(open_by_handle_at, 342) CALL(quotactl, 131) \
  CALL(quotactl_fd, 443) CALL(swapon, 87) CALL(swapoff, 115) CALL(reboot, 88) CALL(syslog, 103) CALL(acct, 51) \
  CALL(settimeofday, 79) CALL(clock_settime, 264) CALL(sethostname, 74) CALL(setdomainname, 121) CALL(vhangup, 111)
// Refused as if the kernel did not have them: libc falls back to clone, whose flags can be seen; others to epoll.
#define ABSENT(CALL) CALL(clone3, 435) CALL(io_uring_setup, 425) CALL(io_uring_enter, 426) CALL(io_uring_register, 427)

#define NATIVE_REFUSED(name, i386) REFUSE(SYS_##name, EPERM),
#define NATIVE_ABSENT(name, i386) REFUSE(SYS_##name, ENOSYS),
#define I386_REFUSED(name, i386) REFUSE(i386, EPERM),
#define I386_ABSENT(name, i386) REFUSE(i386, ENOSYS),

static const struct sock_filter native_calls[] = {
  LOAD(nr),
#ifdef __x86_64__
  ABOVE(X32_CALLS - 1, 0, 1), // x32: the same kernel through other numbers, which nothing of ours uses
  GIVE(ENOSYS),
  REFUSE(SYS_iopl, EPERM), REFUSE(SYS_ioperm, EPERM), REFUSE_DEVICES(SYS_mknod, 1),
#endif
  ABOVE(NEWEST_CALL, 0, 1), GIVE(ENOSYS),
  REFUSED(NATIVE_REFUSED) ABSENT(NATIVE_ABSENT) REFUSE(SYS_kexec_file_load, EPERM),
  REFUSE_BITS(SYS_clone, 0, NAMESPACES), REFUSE_BITS(SYS_unshare, 0, NAMESPACES | CLONE_NEWTIME),
  REFUSE_DEVICES(SYS_mknodat, 2), RESTRICT_PERSONALITY(SYS_personality), RESTRICT_IOCTL(SYS_ioctl),
  RESTRICT_SOCKET(SYS_socket), PASS,
};

#ifdef __x86_64__
// i686 packages are built on amd64, so their calls get a list of their own. What their libc packs into socketcall lies in
// memory where a filter cannot look: they have no sockets but through the direct calls.
static const struct sock_filter i386_calls[] = {
  LOAD(nr),
  ABOVE(NEWEST_CALL, 0, 1), GIVE(ENOSYS),
  REFUSED(I386_REFUSED) ABSENT(I386_ABSENT)
  REFUSE(22 /* umount */, EPERM), REFUSE(25 /* stime */, EPERM), REFUSE(110 /* iopl */, EPERM),
  REFUSE(101 /* ioperm */, EPERM), REFUSE(404 /* clock_settime64 */, EPERM),
  REFUSE_BITS(120 /* clone */, 0, NAMESPACES), REFUSE_BITS(310 /* unshare */, 0, NAMESPACES | CLONE_NEWTIME),
  REFUSE_DEVICES(14 /* mknod */, 1), REFUSE_DEVICES(297 /* mknodat */, 2), RESTRICT_PERSONALITY(136), RESTRICT_IOCTL(54),
  EQUAL(I386_SOCKETCALL, 0, 4), ARGUMENT(0), EQUAL(SOCKETCALL_SOCKET, 0, 1), GIVE(EAFNOSUPPORT), PASS,
  RESTRICT_SOCKET(359), PASS,
};
#endif

enum { COUNT_NATIVE = sizeof native_calls / sizeof *native_calls };
#ifdef __x86_64__
enum { NATIVE = AUDIT_ARCH_X86_64, COUNT_I386 = sizeof i386_calls / sizeof *i386_calls };
#else
enum { NATIVE = AUDIT_ARCH_AARCH64, COUNT_I386 = 0 };
#endif

int csandbox_filter_calls(void) {
  struct sock_filter program[8 + COUNT_NATIVE + COUNT_I386];
  unsigned short count = 0;
#define ADD(instruction) program[count++] = (struct sock_filter)instruction
  // Calls of a machine without a list end the process: there is no error that it would understand.
  ADD(LOAD(arch));
#ifdef __x86_64__
  ADD(EQUAL(AUDIT_ARCH_I386, 0, 1));
  ADD(BPF_STMT(BPF_JMP | BPF_JA, COUNT_NATIVE + 2));
#endif
  ADD(EQUAL(NATIVE, 1, 0));
  ADD(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS));
  for (int i = 0; i < COUNT_NATIVE; i++) program[count++] = native_calls[i];
#ifdef __x86_64__
  for (int i = 0; i < COUNT_I386; i++) program[count++] = i386_calls[i];
#endif
  struct sock_fprog description = {count, program};
  // SPEC_ALLOW: without it, kernels before 5.16 slow the whole build down by mitigations meant for code that is run on
  // behalf of others inside one process.
  return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &description);
}
