// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

// What the sandbox's first process does before it starts commands, in parts. Async-signal-safe.
#ifndef DISTRI_FIRST_PROCESS_H
#define DISTRI_FIRST_PROCESS_H

#include "CSandbox.h"

/// Reports the failure with errno and ends.
_Noreturn void csandbox_fail(enum csandbox_stage stage, size_t index);

/// Makes the new root, carries the operations out in it and leaves the old one; ends the process where that fails.
void csandbox_make_root(const struct csandbox_plan *plan);

/// Makes the first process, a copy of the program, anonymous to those who look at /proc: it has neither name nor arguments.
void csandbox_forget_arguments(void);

/// Installs the filter of system calls; needs no_new_privs. This and the rest: 0, or -1 with errno.
int csandbox_filter_calls(void);

/// Takes all capabilities but those out of the bounding set, bit n for capability n.
int csandbox_limit_capabilities(uint64_t kept);

/// Sets limits of resources that make builds the same everywhere, and the plan's limit of processes.
int csandbox_limit_resources(const struct csandbox_plan *plan);

/// Sets the plan's limit of address space, which a copy of a large program may be above: for who is about to call exec.
int csandbox_limit_memory(const struct csandbox_plan *plan);

#endif
