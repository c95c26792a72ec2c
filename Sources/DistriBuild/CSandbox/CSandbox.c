// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

#define _GNU_SOURCE
#include "CSandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// Descriptors of the sandbox's first process, after 0 to 2.
enum { REPORTS = 3, START = 4, FIRST_FREE = 5 };

static _Noreturn void fail(enum csandbox_stage stage, size_t index) {
  // 12 bytes are written atomically.
  struct csandbox_report report = {(int32_t)stage, (int32_t)index, errno};
  ssize_t written = write(REPORTS, &report, sizeof report);
  _exit(written == sizeof report ? 125 : 126);
}

static long start_process(uint64_t flags, int *descriptor, uint64_t exit_signal) {
  // The raw call: fork(3) takes locks and runs handlers that other threads may be in the middle of.
  struct clone_args args;
  memset(&args, 0, sizeof args);
  args.flags = flags;
  args.pidfd = (uint64_t)(uintptr_t)descriptor;
  args.exit_signal = exit_signal;
  return syscall(SYS_clone3, &args, sizeof args);
}

static void reset_signals(void) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = SIG_DFL;
  for (int number = 1; number < 65; number++) sigaction(number, &action, NULL);
}

// Moves the streams to 0–2, the two pipes behind them, and closes all else: the first process would otherwise keep
// locks and pipe ends of the program open for as long as the sandbox lives.
static void arrange_descriptors(const struct csandbox_plan *plan, int reports, int start) {
  int from[5] = {plan->streams[0], plan->streams[1], plan->streams[2], reports, start};
  int high[5];
  for (int i = 4; i >= 0; i--) {
    high[i] = fcntl(from[i], F_DUPFD_CLOEXEC, 16);
    if (high[i] < 0) {
      if (i < 4 && dup2(reports, REPORTS) >= 0) fail(CSANDBOX_STAGE_STREAMS, (size_t)i);
      _exit(126);
    }
  }
  for (int i = 0; i < 5; i++) {
    if (dup3(high[i], i, i < 3 ? 0 : O_CLOEXEC) < 0) _exit(126);
  }
  if (close_range(FIRST_FREE, ~0U, 0)) fail(CSANDBOX_STAGE_STREAMS, 0);
}

static int make_parents(const char *path) {
  char buffer[4096];
  size_t length = strlen(path);
  if (length >= sizeof buffer) {
    errno = ENAMETOOLONG;
    return -1;
  }
  memcpy(buffer, path, length + 1);
  for (size_t i = 1; i < length; i++) {
    if (buffer[i] != '/') continue;
    buffer[i] = 0;
    // A directory on a read-only mount answers EROFS even when it is there: only its absence counts.
    struct stat status;
    if (mkdir(buffer, 0755) && errno != EEXIST && stat(buffer, &status)) return -1;
    buffer[i] = '/';
  }
  return 0;
}

static int make_directory(const char *path, mode_t mode) {
  struct stat status;
  if (mkdir(path, mode) == 0) return chmod(path, mode);
  int error = errno;
  if (stat(path, &status) == 0 && S_ISDIR(status.st_mode)) return 0;
  errno = error;
  return -1;
}

static int make_file(const char *path, const char *contents, uint64_t length, mode_t mode) {
  int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
  if (file < 0) return -1;
  while (length > 0) {
    ssize_t written = write(file, contents, length);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return -1;
    contents += written;
    length -= (uint64_t)written;
  }
  if (fchmod(file, mode)) return -1;
  return close(file);
}

static int make_read_only(int tree) {
  struct mount_attr attributes;
  memset(&attributes, 0, sizeof attributes);
  attributes.attr_set = MOUNT_ATTR_RDONLY;
  return mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attributes, sizeof attributes);
}

static int attach(int tree, const char *target) {
  if (move_mount(tree, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH)) return -1;
  return close(tree);
}

static int open_source(struct csandbox_operation *operation) {
  unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
  if (operation->flags & CSANDBOX_RECURSIVE) flags |= AT_RECURSIVE;
  operation->tree = open_tree(AT_FDCWD, operation->source, flags);
  return operation->tree < 0 ? -1 : 0;
}

static int bind_source(const struct csandbox_operation *operation) {
  struct stat status;
  if (fstat(operation->tree, &status)) return -1;
  if (S_ISDIR(status.st_mode)) {
    if (make_directory(operation->target, 0755)) return -1;
  } else if (access(operation->target, F_OK) && make_file(operation->target, "", 0, 0644)) {
    return -1;
  }
  if ((operation->flags & CSANDBOX_READ_ONLY) && make_read_only(operation->tree)) return -1;
  return attach(operation->tree, operation->target);
}

static int protect(const char *target) {
  int tree = open_tree(AT_FDCWD, target, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
  if (tree < 0) return errno == ENOENT ? 0 : -1; // a kernel without this file has nothing to protect
  if (make_read_only(tree)) return -1;
  return attach(tree, target);
}

static int perform(const struct csandbox_operation *operation) {
  const char *target = operation->target;
  if (make_parents(target)) return -1;
  switch (operation->kind) {
  case CSANDBOX_BIND: return bind_source(operation);
  case CSANDBOX_DIRECTORY: return make_directory(target, operation->mode);
  case CSANDBOX_SYMBOLIC_LINK: return symlink(operation->source, target);
  case CSANDBOX_FILE: return make_file(target, operation->source, operation->length, operation->mode);
  case CSANDBOX_TMPFS:
    if (make_directory(target, 0755)) return -1;
    return mount("tmpfs", target, "tmpfs", MS_NOSUID | MS_NODEV, operation->source);
  case CSANDBOX_PROC:
    if (make_directory(target, 0755)) return -1;
    return mount("proc", target, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
  case CSANDBOX_PTS:
    if (make_directory(target, 0755)) return -1;
    return mount("devpts", target, "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620");
  case CSANDBOX_PROTECT: return protect(target);
  }
  errno = EINVAL;
  return -1;
}

static void make_root(const struct csandbox_plan *plan) {
  if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)) fail(CSANDBOX_STAGE_PRIVATE, 0);
  // Sources are taken while their paths still mean what the caller meant; the rest happens in the new root, so that no
  // symbolic link in there can lead out.
  for (size_t i = 0; i < plan->operation_count; i++) {
    if (plan->operations[i].kind == CSANDBOX_BIND && open_source(&plan->operations[i])) fail(CSANDBOX_STAGE_SOURCE, i);
  }
  if (mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755") || chdir("/tmp") ||
      syscall(SYS_pivot_root, ".", "."))
    fail(CSANDBOX_STAGE_ROOT, 0);
  // The old root now lies over the new one and is reached by "." only. It goes last: the kernel lets an ordinary user
  // mount /proc only where another whole /proc can be seen.
  for (size_t i = 0; i < plan->operation_count; i++) {
    if (perform(&plan->operations[i])) fail(CSANDBOX_STAGE_OPERATION, i);
  }
  if (umount2(".", MNT_DETACH) || chdir("/")) fail(CSANDBOX_STAGE_DETACH, 0);
}

static int raise_loopback(void) {
  int socket_descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (socket_descriptor < 0) return -1;
  struct ifreq request;
  memset(&request, 0, sizeof request);
  memcpy(request.ifr_name, "lo", 3);
  request.ifr_flags = IFF_UP;
  int result = ioctl(socket_descriptor, SIOCSIFFLAGS, &request);
  close(socket_descriptor);
  return result;
}

static int limit_capabilities(uint64_t kept) {
  for (int number = 0; number < 64; number++) {
    if (kept >> number & 1) continue;
    if (prctl(PR_CAPBSET_DROP, number, 0, 0, 0) == 0) continue;
    return errno == EINVAL ? 0 : -1; // past the last capability that this kernel knows
  }
  return 0;
}

static _Noreturn void execute(const struct csandbox_plan *plan, size_t index, pid_t parent) {
  const struct csandbox_command *command = &plan->commands[index];
  reset_signals();
  if (plan->new_session && setsid() < 0) fail(CSANDBOX_STAGE_SESSION, 0);
  if (plan->capabilities != ~UINT64_C(0) && limit_capabilities(plan->capabilities)) fail(CSANDBOX_STAGE_CAPABILITIES, 0);
  if (plan->set_identity) {
    // The raw calls: those of libc wait for all threads of the program to follow, and there are none here.
    // setgroups is denied to ordinary users; their groups cannot be seen inside anyway.
    if (!plan->deny_setgroups && syscall(SYS_setgroups, 0, NULL)) fail(CSANDBOX_STAGE_IDENTITY, 0);
    if (syscall(SYS_setresgid, plan->group_id, plan->group_id, plan->group_id) ||
        syscall(SYS_setresuid, plan->user_id, plan->user_id, plan->user_id))
      fail(CSANDBOX_STAGE_IDENTITY, 0);
  }
  // After the change of identity, which clears it.
  if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) || getppid() != parent) fail(CSANDBOX_STAGE_FORK, 0);
  if (plan->no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) fail(CSANDBOX_STAGE_IDENTITY, 0);
  if (chdir(plan->working_directory)) fail(CSANDBOX_STAGE_WORKING_DIRECTORY, 0);
  if (!command->candidates) _exit(0);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  int error = ENOENT;
  for (char *const *candidate = command->candidates; *candidate; candidate++) {
    execve(*candidate, command->arguments, plan->environment);
    if (errno != ENOENT && errno != ENOTDIR) error = errno;
    if (errno != ENOENT && errno != ENOTDIR && errno != EACCES) break;
  }
  errno = error;
  fail(CSANDBOX_STAGE_EXECUTE, index);
}

// The sandbox's first process: process 1 where there is a process namespace. It ignores what the terminal sends (the
// commands get that themselves), collects orphans, and reports how each command ended.
static _Noreturn void supervise(const struct csandbox_plan *plan) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = SIG_IGN;
  int ignored[] = {SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGTSTP, SIGTTIN, SIGTTOU, SIGPIPE};
  for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++) sigaction(ignored[i], &action, NULL);
  pid_t self = getpid();
  for (size_t i = 0; i < plan->command_count; i++) {
    long command = start_process(0, NULL, SIGCHLD);
    if (command < 0) fail(CSANDBOX_STAGE_FORK, i);
    if (command == 0) execute(plan, i, self);
    int status = 0;
    for (long ended = 0; ended != command;) {
      ended = waitpid(-1, &status, 0);
      if (ended < 0 && errno != EINTR) _exit(126);
    }
    struct csandbox_report report = {0, (int32_t)i, status};
    if (write(REPORTS, &report, sizeof report) != sizeof report) _exit(126);
    if (status) break;
  }
  _exit(0);
}

static _Noreturn void run_first_process(const struct csandbox_plan *plan, int reports, int start) {
  reset_signals();
  arrange_descriptors(plan, reports, start);
  if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)) fail(CSANDBOX_STAGE_FORK, 0);
  char go;
  if (read(START, &go, 1) != 1) _exit(126); // the program died, or could not map our ids
  close(START);
  umask(022);
  make_root(plan);
  if ((plan->namespaces & CSANDBOX_NETWORK) && raise_loopback()) fail(CSANDBOX_STAGE_LOOPBACK, 0);
  if (plan->hostname && sethostname(plan->hostname, strlen(plan->hostname))) fail(CSANDBOX_STAGE_HOSTNAME, 0);
  supervise(plan);
}

static int write_process_file(pid_t process, const char *name, const char *text) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/%s", (int)process, name);
  int file = open(path, O_WRONLY | O_CLOEXEC);
  if (file < 0) return -1;
  ssize_t written = write(file, text, strlen(text));
  int error = errno;
  close(file);
  errno = error;
  return written == (ssize_t)strlen(text) ? 0 : -1;
}

static int map_ids(const struct csandbox_plan *plan, pid_t process) {
  if (!(plan->namespaces & CSANDBOX_USER)) return 0;
  if (plan->deny_setgroups && write_process_file(process, "setgroups", "deny")) return -1;
  if (write_process_file(process, "uid_map", plan->user_map)) return -1;
  return write_process_file(process, "gid_map", plan->group_map);
}

static uint64_t clone_flags(uint32_t namespaces) {
  uint64_t flags = CLONE_NEWNS | CLONE_PIDFD;
  if (namespaces & CSANDBOX_USER) flags |= CLONE_NEWUSER;
  if (namespaces & CSANDBOX_PID) flags |= CLONE_NEWPID;
  if (namespaces & CSANDBOX_NETWORK) flags |= CLONE_NEWNET;
  if (namespaces & CSANDBOX_IPC) flags |= CLONE_NEWIPC;
  if (namespaces & CSANDBOX_UTS) flags |= CLONE_NEWUTS;
  if (namespaces & CSANDBOX_CGROUP) flags |= CLONE_NEWCGROUP;
  return flags;
}

static int abandon(struct csandbox_report *failure, enum csandbox_stage stage) {
  failure->stage = (int32_t)stage;
  failure->index = 0;
  failure->value = errno;
  return -1;
}

int csandbox_spawn(const struct csandbox_plan *plan, struct csandbox_process *process, struct csandbox_report *failure) {
  int reports[2], start[2];
  if (pipe2(reports, O_CLOEXEC)) return abandon(failure, CSANDBOX_STAGE_PIPE);
  if (pipe2(start, O_CLOEXEC)) {
    abandon(failure, CSANDBOX_STAGE_PIPE);
    close(reports[0]);
    close(reports[1]);
    return -1;
  }
  // No signal handler of the program may run in the new process.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int descriptor = -1;
  // Exit signal 0: a waitpid(-1) elsewhere in the program does not collect this process.
  long child = start_process(clone_flags(plan->namespaces), &descriptor, 0);
  if (child == 0) run_first_process(plan, reports[1], start[0]);
  int result = child < 0 ? abandon(failure, CSANDBOX_STAGE_CLONE) : 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  close(reports[1]);
  if (result == 0 && map_ids(plan, (pid_t)child)) result = abandon(failure, CSANDBOX_STAGE_MAP_IDS);
  // Our read end is still open, so that the write to a process that is already dead raises no SIGPIPE.
  if (result == 0 && write(start[1], "g", 1) != 1) result = abandon(failure, CSANDBOX_STAGE_PIPE);
  close(start[0]);
  close(start[1]); // without the byte this ends the process
  process->descriptor = descriptor;
  process->reports = reports[0];
  if (result && child > 0) {
    csandbox_wait(process);
    close(descriptor);
  } else if (result) {
    close(reports[0]);
  }
  return result;
}

int csandbox_next(const struct csandbox_process *process, struct csandbox_report *report) {
  for (;;) {
    ssize_t count = read(process->reports, report, sizeof *report);
    if (count == sizeof *report) return 1;
    if (count >= 0 || errno != EINTR) return 0;
  }
}

void csandbox_wait(const struct csandbox_process *process) {
  close(process->reports);
  siginfo_t information;
  while (waitid(P_PIDFD, (id_t)process->descriptor, &information, WEXITED | __WALL) < 0 && errno == EINTR) continue;
}

int csandbox_kill(int descriptor) { return (int)syscall(SYS_pidfd_send_signal, descriptor, SIGKILL, NULL, 0); }
