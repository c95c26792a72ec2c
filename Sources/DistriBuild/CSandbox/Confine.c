// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

#define _GNU_SOURCE
#include "FirstProcess.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

void csandbox_forget_arguments(void) {
  prctl(PR_SET_NAME, "sandbox", 0, 0, 0);
  // Fields 48 and 49 of stat(5), counted behind the name, which may contain anything, are where the arguments begin and
  // end. What is written there is our copy. Without the host's /proc, there is none in the sandbox either.
  char text[2048];
  int file = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
  if (file < 0) return;
  ssize_t count = read(file, text, sizeof text - 1);
  close(file);
  if (count <= 0) return;
  text[count] = 0;
  const char *rest = strrchr(text, ')');
  unsigned long range[2] = {0, 0};
  for (int field = 3; rest && field <= 49; field++) {
    rest = strchr(rest, ' ');
    if (!rest) return;
    rest++;
    if (field < 48) continue;
    for (const char *digit = rest; *digit >= '0' && *digit <= '9'; digit++)
      range[field - 48] = range[field - 48] * 10 + (unsigned long)(*digit - '0');
  }
  if (range[0] && range[0] < range[1]) memset((void *)range[0], 0, range[1] - range[0]);
}

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
