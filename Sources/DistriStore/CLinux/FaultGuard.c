// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

// What happens when a mapped file is shorter than when it was mapped, or its disk fails: SIGBUS for who touches the page. The handler looks
// the address up in a table that is read without a lock, maps a page of zeros over it, and marks the mapping; everything else goes to
// whoever handled the signal before.

#define _GNU_SOURCE
#include "CLinux.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ENTRY_COUNT 65536

struct entry {
  _Atomic uintptr_t start, end;
  _Atomic int faulted;
};

// In the zero-filled part of the program: costs memory only where it is used.
static struct entry entries[ENTRY_COUNT];
static int next_free[ENTRY_COUNT];
static int first_free = -1;
static _Atomic int used = 0;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic int installed = 0;
static struct sigaction previous;

static int page_size(void) {
  static _Atomic int size = 0;
  if (size == 0) size = (int)sysconf(_SC_PAGESIZE);
  return size;
}

static void pass_on(int number, siginfo_t *info, void *context) {
  if (previous.sa_flags & SA_SIGINFO) {
    previous.sa_sigaction(number, info, context);
  } else if (previous.sa_handler == SIG_DFL || previous.sa_handler == SIG_IGN) {
    // Returns to the same instruction, which now ends the process.
    signal(number, SIG_DFL);
    if (info->si_code <= 0) raise(number);
  } else {
    previous.sa_handler(number);
  }
}

static void on_fault(int number, siginfo_t *info, void *context) {
  int error = errno;
  uintptr_t address = (uintptr_t)info->si_addr;
  int count = atomic_load_explicit(&used, memory_order_acquire);
  for (int index = 0; info->si_code > 0 && index < count; index++) {
    uintptr_t start = atomic_load_explicit(&entries[index].start, memory_order_acquire);
    if (start == 0 || address < start || address >= atomic_load_explicit(&entries[index].end, memory_order_acquire)) continue;
    uintptr_t page = address & ~(uintptr_t)(page_size() - 1);
    long mapped = syscall(
        SYS_mmap, page, (size_t)page_size(), PROT_READ, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, (off_t)0);
    if (mapped == -1) break;
    atomic_store_explicit(&entries[index].faulted, 1, memory_order_release);
    errno = error;
    return;
  }
  pass_on(number, info, context);
  errno = error;
}

int clinux_guard_install(void) {
  pthread_mutex_lock(&lock);
  int status = 0;
  if (!installed) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    page_size();
    status = sigaction(SIGBUS, &action, &previous);
    installed = status == 0;
  }
  pthread_mutex_unlock(&lock);
  return status;
}

int clinux_guard_add(const void *start, size_t length) {
  if (!installed) return -1;
  pthread_mutex_lock(&lock);
  int index = first_free;
  if (index >= 0) {
    first_free = next_free[index];
  } else if (used < ENTRY_COUNT) {
    index = used;
  }
  if (index >= 0) {
    atomic_store(&entries[index].faulted, 0);
    atomic_store(&entries[index].end, (uintptr_t)start + length);
    atomic_store_explicit(&entries[index].start, (uintptr_t)start, memory_order_release);
    if (index == used) atomic_store_explicit(&used, index + 1, memory_order_release);
  }
  pthread_mutex_unlock(&lock);
  return index;
}

int clinux_guard_has_faulted(int index) {
  return index >= 0 && atomic_load_explicit(&entries[index].faulted, memory_order_acquire);
}

void clinux_guard_remove(int index) {
  if (index < 0) return;
  pthread_mutex_lock(&lock);
  atomic_store_explicit(&entries[index].start, 0, memory_order_release);
  next_free[index] = first_free;
  first_free = index;
  pthread_mutex_unlock(&lock);
}
