// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

#define _GNU_SOURCE
#include "CInit.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kd.h>
#include <linux/netlink.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

// A static Swift runtime finds its own path through /proc and aborts without it, before main: as process 1 we have to be earlier.
__attribute__((constructor(101))) static void mount_proc(void) {
  if (getpid() != 1 || access("/proc/self", F_OK) == 0) return;
  mkdir("/proc", 0555);
  mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
}

int cinit_mount(const char *source, const char *target, const char *type, unsigned flags, const char *options) {
  unsigned long bits = 0;
  if (flags & CINIT_READ_ONLY) bits |= MS_RDONLY;
  if (flags & CINIT_NO_SUID) bits |= MS_NOSUID;
  if (flags & CINIT_NO_DEVICES) bits |= MS_NODEV;
  if (flags & CINIT_NO_EXEC) bits |= MS_NOEXEC;
  return mount(source, target, type, bits, options);
}

int cinit_bind(const char *source, const char *target) { return mount(source, target, NULL, MS_BIND, NULL); }

int cinit_move(const char *source, const char *target) { return mount(source, target, NULL, MS_MOVE, NULL); }

int cinit_make_read_only(const char *target) { return mount(NULL, target, NULL, MS_REMOUNT | MS_RDONLY, NULL); }

int cinit_unmount(const char *target) { return umount2(target, 0); }

int cinit_detach(const char *target) { return umount2(target, MNT_DETACH); }

int cinit_load_module(int file) { return (int)syscall(SYS_finit_module, file, "", 0); }

int cinit_open_uevents(void) {
  int events = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT);
  if (events < 0) return -1;
  struct sockaddr_nl address;
  memset(&address, 0, sizeof address);
  address.nl_family = AF_NETLINK;
  address.nl_groups = 1;  // the kernel's own events, not those that udev sends on
  if (bind(events, (struct sockaddr *)&address, sizeof address) < 0) {
    int error = errno;
    close(events);
    errno = error;
    return -1;
  }
  return events;
}

int cinit_set_key(int terminal, unsigned char table, unsigned char key, unsigned short meaning) {
  struct kbentry entry = {table, key, meaning};
  return ioctl(terminal, KDSKBENT, &entry);
}

int cinit_open_process(pid_t process) { return (int)syscall(SYS_pidfd_open, process, 0); }

int cinit_end(int how) {
  static const int commands[] = {RB_POWER_OFF, RB_AUTOBOOT, RB_HALT_SYSTEM, RB_KEXEC};
  return reboot(commands[how]);
}

// The rest of the child's life: async-signal-safe calls only.
static void become(
    const char *path, char *const arguments[], char *const environment[], unsigned flags, int ready, int report) {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  if (flags && setsid() < 0) goto failed;
  if (flags & CINIT_ON_CONSOLE) {
    int console = open("/dev/console", O_RDWR);
    if (console < 0) goto failed;
    // The system console cannot become a controlling terminal on every machine; then the shell lacks job control only.
    ioctl(console, TIOCSCTTY, 1);
    if (dup2(console, 0) < 0 || dup2(console, 1) < 0 || dup2(console, 2) < 0) goto failed;
  }
  // The report moves to 4, so that the readiness descriptor can have 3; both may lie in each other's way.
  int high = fcntl(report, F_DUPFD_CLOEXEC, 10);
  if (high < 0) goto failed;
  report = high;
  if (ready >= 0 && (ready == 3 ? fcntl(3, F_SETFD, 0) : dup2(ready, 3)) < 0) goto failed;
  if (dup3(report, 4, O_CLOEXEC) < 0) goto failed;
  report = 4;
  if (ready < 0) close(3);
  syscall(SYS_close_range, 5, ~0U, 0);
  execve(path, arguments, environment);
failed:;
  int error = errno;
  ssize_t ignored = write(report, &error, sizeof error);
  (void)ignored;
  _exit(127);
}

pid_t cinit_spawn(const char *path, char *const arguments[], char *const environment[], unsigned flags, int ready) {
  int report[2];
  if (pipe2(report, O_CLOEXEC) < 0) return -1;
  pid_t child = fork();
  if (child == 0) become(path, arguments, environment, flags, ready, report[1]);
  int error = errno;
  close(report[1]);
  if (child > 0) {
    // Nothing arrives when exec closes the pipe: the program runs.
    ssize_t count;
    do count = read(report[0], &error, sizeof error);
    while (count < 0 && errno == EINTR);
    if (count == (ssize_t)sizeof error) {
      while (waitpid(child, NULL, 0) < 0 && errno == EINTR) {
      }
      child = -1;
    }
  }
  close(report[0]);
  errno = error;
  return child;
}

int cinit_exit_status(int wait_status) {
  if (WIFEXITED(wait_status)) return WEXITSTATUS(wait_status);
  return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : 255;
}
