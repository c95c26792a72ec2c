// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

// clone → namespaces → mounts → pivot_root → exec. In C because only async-signal-safe code may run between clone and
// exec in a threaded process, and Swift code is not.
#ifndef DISTRI_CSANDBOX_H
#define DISTRI_CSANDBOX_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum csandbox_kind {
  CSANDBOX_BIND,          // source: path outside; flags
  CSANDBOX_DIRECTORY,     // mode
  CSANDBOX_SYMBOLIC_LINK, // source: the link's target
  CSANDBOX_FILE,          // source: contents of `length` bytes; mode
  CSANDBOX_TMPFS,         // source: mount options
  CSANDBOX_PROC,          // flags: of CSANDBOX_OUTER only
  CSANDBOX_PTS,
  CSANDBOX_PROTECT,       // makes what is at the target read-only
  CSANDBOX_HIDE,          // source: path outside, shown in place of the file at the target
};

enum csandbox_flags {
  CSANDBOX_READ_ONLY = 1,
  CSANDBOX_RECURSIVE = 2,
  CSANDBOX_OUTER = 4, // where the kernel refuses a new one, the one outside
};

struct csandbox_operation {
  enum csandbox_kind kind;
  uint32_t flags;
  uint32_t mode;
  const char *target; // absolute path inside
  const char *source;
  uint64_t length;
  int tree; // scratch: the detached mount of a bind
};

enum csandbox_namespace {
  CSANDBOX_USER = 1,
  CSANDBOX_PID = 2,
  CSANDBOX_NETWORK = 4,
  CSANDBOX_IPC = 8,
  CSANDBOX_UTS = 16,
  CSANDBOX_CGROUP = 32,
};

struct csandbox_command {
  char *const *candidates; // paths tried for exec in turn, NULL at the end; NULL: exit with status 0 instead
  char *const *arguments;
};

struct csandbox_plan {
  struct csandbox_operation *operations;
  size_t operation_count;
  uint32_t namespaces;        // of csandbox_namespace; a mount namespace is always made
  const char *user_map;       // content of /proc/<pid>/uid_map, NULL without CSANDBOX_USER
  const char *group_map;      // content of /proc/<pid>/gid_map
  int deny_setgroups;         // what the kernel asks of ordinary users before gid_map
  const char *hostname;       // NULL: as it is
  int set_identity;           // become user_id and group_id, without further groups
  uid_t user_id;
  gid_t group_id;
  uint64_t capabilities;      // bounding set, bit n = capability n; all ones: as it is
  int no_new_privileges;
  int filter_system_calls;    // needs no_new_privileges
  uint64_t address_space;     // bytes a process may map at most; 0: as it is
  uint64_t processes;         // of the same user in the user namespace at most; 0: as it is
  char *const *group_files;   // cgroup.procs of the control groups that the first process joins, NULL at the end
  int new_session;
  const char *working_directory;
  char *const *environment;
  const struct csandbox_command *commands; // one after the other, until one fails
  size_t command_count;
  int streams[3];             // become descriptors 0, 1 and 2
};

enum csandbox_stage {
  CSANDBOX_STAGE_PIPE = 1,
  CSANDBOX_STAGE_CLONE,
  CSANDBOX_STAGE_MAP_IDS,
  CSANDBOX_STAGE_STREAMS,
  CSANDBOX_STAGE_PRIVATE,
  CSANDBOX_STAGE_SOURCE,    // index: the bind whose source cannot be opened
  CSANDBOX_STAGE_ROOT,
  CSANDBOX_STAGE_OPERATION, // index
  CSANDBOX_STAGE_DETACH,
  CSANDBOX_STAGE_LOOPBACK,
  CSANDBOX_STAGE_HOSTNAME,
  CSANDBOX_STAGE_FORK,
  CSANDBOX_STAGE_SESSION,
  CSANDBOX_STAGE_CAPABILITIES,
  CSANDBOX_STAGE_IDENTITY,
  CSANDBOX_STAGE_WORKING_DIRECTORY,
  CSANDBOX_STAGE_EXECUTE,
  CSANDBOX_STAGE_GROUPS,
  CSANDBOX_STAGE_LIMITS,
  CSANDBOX_STAGE_FILTER,
};

// What the sandbox says: a failure (stage ≠ 0), or how a command ended (stage 0).
struct csandbox_report {
  int32_t stage; // of csandbox_stage
  int32_t index; // of the operation, or of the command
  int32_t value; // errno, or the status as of waitpid(2)
  int64_t peak;  // of a command that ended: the most memory that one of its processes had, in KiB
};

struct csandbox_process {
  int descriptor; // pidfd
  int reports;    // read end of the pipe over which reports arrive
};

/// Starts the sandbox. 0, or -1 with `failure` filled. The process is killed when the *calling thread* ends.
int csandbox_spawn(const struct csandbox_plan *plan, struct csandbox_process *process, struct csandbox_report *failure);

/// A point in time so many nanoseconds from now, for csandbox_next.
int64_t csandbox_deadline(int64_t nanoseconds);

/// Waits for the next report. 1, 0 when there will be none any more, or -1 at the deadline; a negative one is never.
int csandbox_next(const struct csandbox_process *process, struct csandbox_report *report, int64_t deadline);

/// Waits for the end of the sandbox after the last report; closes `reports` but not `descriptor`.
void csandbox_wait(const struct csandbox_process *process);

/// Kills the sandbox; with CSANDBOX_PID everything in it.
int csandbox_kill(int descriptor);

/// Puts the calling process into namespaces of its own for users and mounts, in which it is user 0 and may mount. It must have one
/// thread. 0, or -1 with `failure` filled; after a failure it may be in them without ids.
int csandbox_enter_namespaces(struct csandbox_report *failure);

/// Removes a tree without following links; Swift's Glibc lacks nftw(3). 0, also when nothing is there, or an errno.
int csandbox_remove_tree(const char *path);

#endif
