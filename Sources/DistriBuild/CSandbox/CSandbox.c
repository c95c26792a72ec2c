// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

#define _GNU_SOURCE
#include "FirstProcess.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// Descriptors of the sandbox's first process, after 0 to 2.
enum { REPORTS = 3, START = 4, FIRST_FREE = 5 };

_Noreturn void csandbox_fail(enum csandbox_stage stage, size_t index) {
  // 12 bytes are written atomically.
  struct csandbox_report report = {(int32_t)stage, (int32_t)index, errno, 0};
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

// The filter has no clone3 any more. The raw call again, whose flags come first on all our machines.
static long fork_command(void) { return syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL); }

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
      if (i < 4 && dup2(reports, REPORTS) >= 0) csandbox_fail(CSANDBOX_STAGE_STREAMS, (size_t)i);
      _exit(126);
    }
  }
  for (int i = 0; i < 5; i++) {
    if (dup3(high[i], i, i < 3 ? 0 : O_CLOEXEC) < 0) _exit(126);
  }
  if (close_range(FIRST_FREE, ~0U, 0)) csandbox_fail(CSANDBOX_STAGE_STREAMS, 0);
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

static _Noreturn void execute(const struct csandbox_plan *plan, size_t index, pid_t parent) {
  const struct csandbox_command *command = &plan->commands[index];
  reset_signals();
  if (plan->new_session && setsid() < 0) csandbox_fail(CSANDBOX_STAGE_SESSION, 0);
  // A terminal that is nobody's becomes the session's: without, a shell has no job control.
  if (plan->new_session && isatty(0)) ioctl(0, TIOCSCTTY, 0);
  if (plan->set_identity) {
    // The raw calls: those of libc wait for all threads of the program to follow, and there are none here.
    // setgroups is denied to ordinary users; their groups cannot be seen inside anyway.
    if (!plan->deny_setgroups && syscall(SYS_setgroups, 0, NULL)) csandbox_fail(CSANDBOX_STAGE_IDENTITY, 0);
    if (syscall(SYS_setresgid, plan->group_id, plan->group_id, plan->group_id) ||
        syscall(SYS_setresuid, plan->user_id, plan->user_id, plan->user_id))
      csandbox_fail(CSANDBOX_STAGE_IDENTITY, 0);
  }
  // After the change of identity, which clears it.
  if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) || getppid() != parent) csandbox_fail(CSANDBOX_STAGE_FORK, 0);
  if (chdir(plan->working_directory)) csandbox_fail(CSANDBOX_STAGE_WORKING_DIRECTORY, 0);
  if (!command->candidates) _exit(0);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  if (csandbox_limit_memory(plan)) csandbox_fail(CSANDBOX_STAGE_LIMITS, 0);
  int error = ENOENT;
  for (char *const *candidate = command->candidates; *candidate; candidate++) {
    execve(*candidate, command->arguments, plan->environment);
    if (errno != ENOENT && errno != ENOTDIR) error = errno;
    if (errno != ENOENT && errno != ENOTDIR && errno != EACCES) break;
  }
  errno = error;
  csandbox_fail(CSANDBOX_STAGE_EXECUTE, index);
}

// What commands inherit. The first process keeps its capabilities, for the change of identity; it is a copy of the
// program, memory included, so nobody may look into it, and it makes no call that it will not let its commands make.
static void confine(const struct csandbox_plan *plan) {
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) || csandbox_limit_resources(plan)) csandbox_fail(CSANDBOX_STAGE_LIMITS, 0);
  if (plan->capabilities != ~UINT64_C(0) && csandbox_limit_capabilities(plan->capabilities))
    csandbox_fail(CSANDBOX_STAGE_CAPABILITIES, 0);
  if (plan->no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) csandbox_fail(CSANDBOX_STAGE_IDENTITY, 0);
  if (plan->filter_system_calls && csandbox_filter_calls()) csandbox_fail(CSANDBOX_STAGE_FILTER, 0);
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
    long command = fork_command();
    if (command < 0) csandbox_fail(CSANDBOX_STAGE_FORK, i);
    if (command == 0) execute(plan, i, self);
    int status = 0;
    int64_t peak = 0;
    for (long ended = 0; ended != command;) {
      // Of each process with those that it has waited for: orphans come here by themselves.
      struct rusage usage;
      ended = wait4(-1, &status, 0, &usage);
      if (ended < 0 && errno != EINTR) _exit(126);
      if (ended > 0 && usage.ru_maxrss > peak) peak = usage.ru_maxrss;
    }
    struct csandbox_report report = {0, (int32_t)i, status, peak};
    if (write(REPORTS, &report, sizeof report) != sizeof report) _exit(126);
    if (status) break;
  }
  _exit(0);
}

static _Noreturn void run_first_process(const struct csandbox_plan *plan, int reports, int start, int niceness) {
  reset_signals();
  // That of the program, as its user set it: threads of libdispatch have niceness of their own. Who may not, does not.
  setpriority(PRIO_PROCESS, 0, niceness);
  arrange_descriptors(plan, reports, start);
  if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)) csandbox_fail(CSANDBOX_STAGE_FORK, 0);
  char go;
  if (read(START, &go, 1) != 1) _exit(126); // the program died, or could not map our ids
  close(START);
  // It may have died before the line above asked to be told.
  struct pollfd reader = {.fd = REPORTS, .events = POLLOUT};
  if (poll(&reader, 1, 0) > 0 && (reader.revents & POLLERR)) _exit(126);
  // Now, and not when the process was made: the control group that it has been put into is where its view begins.
  if ((plan->namespaces & CSANDBOX_CGROUP) && unshare(CLONE_NEWCGROUP)) csandbox_fail(CSANDBOX_STAGE_CLONE, 0);
  umask(022);
  csandbox_forget_arguments();
  csandbox_make_root(plan);
  if ((plan->namespaces & CSANDBOX_NETWORK) && raise_loopback()) csandbox_fail(CSANDBOX_STAGE_LOOPBACK, 0);
  if (plan->hostname && sethostname(plan->hostname, strlen(plan->hostname))) csandbox_fail(CSANDBOX_STAGE_HOSTNAME, 0);
  confine(plan);
  supervise(plan);
}

static int write_file(const char *path, const char *text) {
  int file = open(path, O_WRONLY | O_CLOEXEC);
  if (file < 0) return -1;
  ssize_t written = write(file, text, strlen(text));
  int error = errno;
  close(file);
  errno = error;
  return written == (ssize_t)strlen(text) ? 0 : -1;
}

static int write_process_file(pid_t process, const char *name, const char *text) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/%s", (int)process, name);
  return write_file(path, text);
}

static int join_groups(const struct csandbox_plan *plan, pid_t process) {
  char text[16];
  snprintf(text, sizeof text, "%d", (int)process);
  for (char *const *file = plan->group_files; *file; file++) {
    if (write_file(*file, text)) return -1;
  }
  return 0;
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
  int niceness = getpriority(PRIO_PROCESS, (id_t)getpid());
  // Exit signal 0: a waitpid(-1) elsewhere in the program does not collect this process.
  long child = start_process(clone_flags(plan->namespaces), &descriptor, 0);
  if (child == 0) run_first_process(plan, reports[1], start[0], niceness);
  int result = child < 0 ? abandon(failure, CSANDBOX_STAGE_CLONE) : 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  close(reports[1]);
  if (result == 0 && map_ids(plan, (pid_t)child)) result = abandon(failure, CSANDBOX_STAGE_MAP_IDS);
  if (result == 0 && join_groups(plan, (pid_t)child)) result = abandon(failure, CSANDBOX_STAGE_GROUPS);
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

static int64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

int64_t csandbox_deadline(int64_t nanoseconds) {
  int64_t start = now();
  return nanoseconds > INT64_MAX - start ? INT64_MAX : start + nanoseconds;
}

int csandbox_next(const struct csandbox_process *process, struct csandbox_report *report, int64_t deadline) {
  for (;;) {
    if (deadline >= 0) {
      int64_t rest = deadline - now();
      if (rest <= 0) return -1;
      struct timespec time = {rest / 1000000000, rest % 1000000000};
      struct pollfd pipe = {.fd = process->reports, .events = POLLIN};
      if (ppoll(&pipe, 1, &time, NULL) <= 0) continue;
    }
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
