// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

#include "CFuzzer.h"

// libFuzzer's archive brings a main of its own, which wants this symbol; Swift's main replaces it and never calls it.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  (void)data;
  (void)size;
  return 0;
}
