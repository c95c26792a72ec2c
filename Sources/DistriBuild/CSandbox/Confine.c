// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

#define _GNU_SOURCE
#include "FirstProcess.h"

#include <errno.h>
#include <sys/prctl.h>
#include <sys/resource.h>

int csandbox_limit_capabilities(uint64_t kept) {
  for (int number = 0; number < 64; number++) {
    if (kept >> number & 1) continue;
    if (prctl(PR_CAPBSET_DROP, number, 0, 0, 0) == 0) continue;
    return errno == EINVAL ? 0 : -1; // past the last capability that this kernel knows
  }
  return 0;
}

// Lowers both limits, or only what may be lowered of them.
static int lower(int resource, rlim_t most) {
  struct rlimit limit;
  if (getrlimit(resource, &limit)) return -1;
  if (limit.rlim_max > most) limit.rlim_max = most;
  if (limit.rlim_cur > limit.rlim_max) limit.rlim_cur = limit.rlim_max;
  return setrlimit(resource, &limit);
}

static int set_soft(int resource, rlim_t value) {
  struct rlimit limit;
  if (getrlimit(resource, &limit)) return -1;
  limit.rlim_cur = limit.rlim_max < value ? limit.rlim_max : value;
  return setrlimit(resource, &limit);
}

int csandbox_limit_resources(const struct csandbox_plan *plan) {
  if (plan->processes && lower(RLIMIT_NPROC, plan->processes)) return -1;
  // 1, not 0: that also keeps the kernel from starting the host's program for core dumps.
  if (lower(RLIMIT_CORE, 1)) return -1;
  // What programs find out about themselves should not depend on who starts the build.
  return set_soft(RLIMIT_STACK, 8 << 20) || set_soft(RLIMIT_NOFILE, 4096) ? -1 : 0;
}

int csandbox_limit_memory(const struct csandbox_plan *plan) {
  return plan->address_space ? lower(RLIMIT_AS, plan->address_space) : 0;
}
