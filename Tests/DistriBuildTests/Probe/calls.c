// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

// Makes system calls that a build has no business with, each in a process of its own, and writes what came of each: the
// name of an errno, or «allowed».
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char stack[65536] __attribute__((aligned(16)));

static int child(void *argument) { return argument != 0; }

static long clone_with(int flags) {
  long process = clone(child, stack + sizeof stack, flags | SIGCHLD, 0);
  if (process > 0) waitpid(process, 0, 0);
  return process;
}

static long trace(void) {
  pid_t process = fork();
  if (process == 0) {
    ptrace(PTRACE_TRACEME, 0, 0, 0);
    raise(SIGSTOP);
    _exit(0);
  }
  int status;
  if (waitpid(process, &status, 0) < 0 || !WIFSTOPPED(status)) return -1;
  ptrace(PTRACE_CONT, process, 0, 0);
  return waitpid(process, &status, 0);
}

#ifdef __x86_64__
// The calls of i386, from a program of 64 bits.
static long i386(long number, long a, long b, long c) {
  long result;
  __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c) : "memory", "r8", "r9", "r10", "r11");
  int value = (int)result;
  if (value < 0 && value > -4096) {
    errno = -value;
    return -1;
  }
  return value;
}
#endif

#define TRY(name, call) \
  do { \
    pid_t process = fork(); \
    if (process == 0) { \
      errno = 0; \
      long result = (call); \
      printf("%s: %s\n", name, result < 0 ? strerrorname_np(errno) : "allowed"); \
      fflush(stdout); \
      _exit(0); \
    } \
    int status; \
    waitpid(process, &status, 0); \
    if (WIFSIGNALED(status)) printf("%s: signal %d\n", name, WTERMSIG(status)); \
    fflush(stdout); \
  } while (0)

int main(void) {
  // All are given arguments that make no sense, or harm nobody.
  TRY("mount", syscall(SYS_mount, 0, "/none", 0, 0, 0));
  TRY("umount2", syscall(SYS_umount2, "/none", 0));
  TRY("pivot_root", syscall(SYS_pivot_root, "/none", "/none"));
  TRY("open_tree", syscall(SYS_open_tree, -1, "/tmp", 1));
  TRY("fsopen", syscall(SYS_fsopen, "tmpfs", 0));
  TRY("mount_setattr", syscall(SYS_mount_setattr, -1, "/none", 0, 0, 0));
  TRY("setns", syscall(SYS_setns, -1, 0));
  TRY("unshare user", syscall(SYS_unshare, CLONE_NEWUSER));
  TRY("unshare time", syscall(SYS_unshare, 0x80));
  TRY("unshare files", syscall(SYS_unshare, CLONE_FILES));
  TRY("clone", clone_with(0));
  TRY("clone user", clone_with(CLONE_NEWUSER));
  TRY("clone mount", clone_with(CLONE_NEWNS));
  TRY("clone3", syscall(SYS_clone3, 0, 0));
  TRY("add_key", syscall(SYS_add_key, "user", "distri", "x", 1, -1)); // of this process
  TRY("keyctl", syscall(SYS_keyctl, 0, -1, 1));
  TRY("request_key", syscall(SYS_request_key, "user", "distri", 0, 0));
  TRY("bpf", syscall(SYS_bpf, 0, 0, 0));
  TRY("perf_event_open", syscall(SYS_perf_event_open, 0, 0, 0, 0, 0));
  TRY("userfaultfd", syscall(SYS_userfaultfd, 1));
  TRY("io_uring_setup", syscall(SYS_io_uring_setup, 1, 0));
  TRY("open_by_handle_at", syscall(SYS_open_by_handle_at, -1, 0, 0));
  TRY("kexec_load", syscall(SYS_kexec_load, 0, 0, 0, 0xff));
  TRY("init_module", syscall(SYS_init_module, 0, 0, 0));
  TRY("syslog", syscall(SYS_syslog, 9, 0, 0));
  TRY("clock_settime", syscall(SYS_clock_settime, 99, 0));
  char name[256] = "";
  gethostname(name, sizeof name - 1);
  TRY("sethostname", sethostname(name, strlen(name)));
  TRY("personality of the machine", syscall(SYS_personality, 8));
  TRY("personality without random addresses", syscall(SYS_personality, 0x40000));
  TRY("personality of executable data", syscall(SYS_personality, 0x400000));
  TRY("a call of the future", syscall(500));
  TRY("ioctl TIOCSTI", ioctl(0, TIOCSTI, "x"));
  TRY("ioctl FIONREAD", ioctl(0, FIONREAD, &(int){0}));
  TRY("mknod device", mknod("/tmp/device", S_IFCHR | 0600, 0));
  TRY("mknod fifo", mknod("/tmp/fifo", S_IFIFO | 0600, 0));
  TRY("mkdirat", mkdirat(AT_FDCWD, "/tmp/directory", 0755));
  TRY("socket local", socket(AF_UNIX, SOCK_STREAM, 0));
  TRY("socket inet", socket(AF_INET, SOCK_STREAM, 0));
  TRY("socket inet6", socket(AF_INET6, SOCK_DGRAM, 0));
  TRY("socket routes", socket(AF_NETLINK, SOCK_RAW, 0));
  TRY("socket of the kernel's events", socket(AF_NETLINK, SOCK_RAW, 15));
  TRY("socket to the hypervisor", socket(40, SOCK_STREAM, 0));
  TRY("socket of the kernel's ciphers", socket(38, SOCK_SEQPACKET, 0));
  TRY("trace a child", trace());
  TRY("trace the first process", ptrace(PTRACE_SEIZE, 1, 0, 0));
  TRY("read the first process's memory", open("/proc/1/mem", O_RDONLY));
  TRY("read the first process's environment", open("/proc/1/environ", O_RDONLY));
  TRY("look at the first process's root", open("/proc/1/root", O_RDONLY));
#ifdef __x86_64__
  TRY("x32 getpid", syscall(0x40000000 | SYS_getpid));
  TRY("i386 getpid", i386(20, 0, 0, 0));
  TRY("i386 mount", i386(21, 0, 0, 0));
  TRY("i386 unshare user", i386(310, CLONE_NEWUSER, 0, 0));
  TRY("i386 clone3", i386(435, 0, 0, 0));
  TRY("i386 keyctl", i386(288, 0, -1, 1));
  TRY("i386 socket to the hypervisor", i386(359, 40, 1, 0));
  TRY("i386 socket through socketcall", i386(102, 1, 0, 0));
#endif
  return 0;
}
