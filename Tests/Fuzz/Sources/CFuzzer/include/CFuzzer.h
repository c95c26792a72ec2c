// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

#ifndef DISTRI_CFUZZER_H
#define DISTRI_CFUZZER_H

#include <stddef.h>
#include <stdint.h>

/// libFuzzer's loop as a function: lets an ordinary Swift program choose the target first. See llvm's FuzzerInterface.h.
int LLVMFuzzerRunDriver(int *argc, char ***argv, int (*target)(const uint8_t *data, size_t size));

#endif
