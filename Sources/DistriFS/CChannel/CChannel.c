// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

#define _GNU_SOURCE
#include "CChannel.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

// linux/fuse.h of Debian 12 is older than RESEND.
#define NOTIFY_RESEND 7
#define RESENT_BIT (1ULL << 63)
#define OPCODE_FORGET 2
#define OPCODE_INTERRUPT 36
#define OPCODE_DESTROY 38
#define OPCODE_BATCH_FORGET 42

/// How many deaths in which a request was being served make it a killer. In its last chance it is served alone.
#define DEATH_LIMIT 3
#define SLOT_COUNT 256

struct in_header {
  uint32_t length, opcode;
  uint64_t unique;
  uint64_t node;
  uint32_t uid, gid, pid, padding;
};

struct out_header {
  uint32_t length;
  int32_t error;
  uint64_t unique;
};

struct suspect {
  _Atomic uint64_t unique;
  _Atomic uint32_t deaths;
};

struct cchannel_record {
  // By thread: the request that it serves, 0 for none.
  _Atomic uint64_t flight[SLOT_COUNT];
  struct suspect suspects[SLOT_COUNT];
  _Atomic uint32_t suspect_count;
  _Atomic uint32_t next_suspect;
  _Atomic uint64_t refused;
};

struct cchannel {
  void *context;
  struct cchannel_record *record;
  _Atomic int is_muted;
  _Atomic unsigned next_slot;
  // Held by who serves: shared, or alone by a request under suspicion. Nobody is suspected for the first time while a server lives.
  pthread_rwlock_t alone;
};

/// What a thread of libfuse is doing; a thread belongs to one session.
static __thread struct {
  struct cchannel *channel;
  unsigned slot;
  int holds_lock;
} self;

struct cchannel_record *cchannel_record_create(void) {
  void *memory = mmap(NULL, sizeof(struct cchannel_record), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  return memory == MAP_FAILED ? NULL : memory;
}

void cchannel_record_destroy(struct cchannel_record *record) { munmap(record, sizeof *record); }

static struct suspect *find(struct cchannel_record *record, uint64_t unique) {
  if (atomic_load_explicit(&record->suspect_count, memory_order_acquire) == 0) return NULL;
  for (int index = 0; index < SLOT_COUNT; index++) {
    if (atomic_load_explicit(&record->suspects[index].unique, memory_order_relaxed) == unique) return &record->suspects[index];
  }
  return NULL;
}

static void acquit(struct cchannel_record *record, uint64_t unique) {
  struct suspect *suspect = find(record, unique);
  if (!suspect) return;
  atomic_store(&suspect->deaths, 0);
  atomic_store(&suspect->unique, 0);
  atomic_fetch_sub(&record->suspect_count, 1);
}

static struct suspect *new_suspect(struct cchannel_record *record, uint64_t unique) {
  for (int index = 0; index < SLOT_COUNT; index++) {
    if (record->suspects[index].unique != 0) continue;
    record->suspects[index].deaths = 0;
    record->suspects[index].unique = unique;
    record->suspect_count++;
    return &record->suspects[index];
  }
  // Some that nobody waits for any more, since they were interrupted: the oldest makes room.
  struct suspect *oldest = &record->suspects[record->next_suspect++ % SLOT_COUNT];
  oldest->deaths = 0;
  oldest->unique = unique;
  return oldest;
}

void cchannel_record_settle(struct cchannel_record *record) {
  for (int index = 0; index < SLOT_COUNT; index++) {
    uint64_t unique = atomic_exchange(&record->flight[index], 0) & ~RESENT_BIT;
    if (unique == 0) continue;
    struct suspect *suspect = find(record, unique);
    if (!suspect) suspect = new_suspect(record, unique);
    suspect->deaths++;
  }
}

uint64_t cchannel_record_refused(struct cchannel_record *record) { return record->refused; }

static uint32_t deaths_of(struct cchannel_record *record, uint64_t unique) {
  struct suspect *suspect = find(record, unique & ~RESENT_BIT);
  return suspect ? atomic_load(&suspect->deaths) : 0;
}

int cchannel_record_begin(struct cchannel_record *record, unsigned slot, uint64_t unique) {
  if (deaths_of(record, unique) >= DEATH_LIMIT) {
    acquit(record, unique & ~RESENT_BIT);
    atomic_fetch_add(&record->refused, 1);
    return EIO;
  }
  atomic_store_explicit(&record->flight[slot % SLOT_COUNT], unique, memory_order_release);
  return 0;
}

void cchannel_record_end(struct cchannel_record *record, unsigned slot, uint64_t unique) {
  uint64_t expected = unique;
  atomic_compare_exchange_strong(&record->flight[slot % SLOT_COUNT], &expected, 0);
  if (atomic_load_explicit(&record->suspect_count, memory_order_acquire) > 0) acquit(record, unique & ~RESENT_BIT);
}

struct cchannel *cchannel_create(void *context, struct cchannel_record *record) {
  struct cchannel *channel = calloc(1, sizeof *channel);
  if (!channel) return NULL;
  channel->context = context;
  channel->record = record;
  pthread_rwlockattr_t attributes;
  pthread_rwlockattr_init(&attributes);
  pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
  pthread_rwlock_init(&channel->alone, &attributes);
  pthread_rwlockattr_destroy(&attributes);
  return channel;
}

void cchannel_destroy(struct cchannel *channel) {
  pthread_rwlock_destroy(&channel->alone);
  free(channel);
}

void *cchannel_context(const struct cchannel *channel) { return channel->context; }

void cchannel_set_muted(struct cchannel *channel, int is_muted) { atomic_store(&channel->is_muted, is_muted); }

/// The thread is done with its request: it has answered, or somebody else will.
static void finish(struct cchannel *channel) {
  if (self.channel != channel) {
    self.channel = channel;
    self.slot = atomic_fetch_add(&channel->next_slot, 1) % SLOT_COUNT;
    self.holds_lock = 0;
  }
  if (channel->record) atomic_store_explicit(&channel->record->flight[self.slot], 0, memory_order_release);
  if (self.holds_lock) pthread_rwlock_unlock(&channel->alone);
  self.holds_lock = 0;
}

/// Whether the request is to be served; else it has been answered.
static int admit(struct cchannel *channel, int descriptor, const struct in_header *request) {
  struct cchannel_record *record = channel->record;
  if (!record || request->opcode == OPCODE_FORGET || request->opcode == OPCODE_BATCH_FORGET || request->opcode == OPCODE_INTERRUPT ||
      request->opcode == OPCODE_DESTROY) {
    return 1;
  }
  if (atomic_load_explicit(&record->suspect_count, memory_order_acquire) > 0) {
    // Who has been in flight twice is alone this time, so that nobody else is counted with it.
    int is_suspect = deaths_of(record, request->unique) == DEATH_LIMIT - 1;
    int status = is_suspect ? pthread_rwlock_wrlock(&channel->alone) : pthread_rwlock_rdlock(&channel->alone);
    self.holds_lock = status == 0;
  }
  int error = cchannel_record_begin(record, self.slot, request->unique);
  if (error == 0) return 1;
  struct out_header answer = {sizeof answer, -error, request->unique};
  if (write(descriptor, &answer, sizeof answer) < 0) { /* Interrupted: nobody waits. */ }
  return 0;
}

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HAS_THREAD_SANITIZER 1
#endif
#endif

/// libfuse ends its threads by pthread_cancel while they are here. ThreadSanitizer's own read(2) does not survive that, the system call does.
static ssize_t wait_for_request(int descriptor, void *buffer, size_t length) {
#ifdef HAS_THREAD_SANITIZER
  int type;
  pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &type);
  ssize_t count = syscall(SYS_read, descriptor, buffer, length);
  pthread_setcanceltype(type, NULL);
  return count;
#else
  return read(descriptor, buffer, length);
#endif
}

ssize_t cchannel_read(int descriptor, void *buffer, size_t length, void *data) {
  struct cchannel *channel = data;
  for (;;) {
    finish(channel);
    // A process that is killed while the kernel copies to a page that is not there costs that request an EIO. Requests are short: no
    // file is ever written.
    for (size_t offset = 0; offset < length && offset < 65536; offset += 4096) ((volatile char *)buffer)[offset] = 0;
    ssize_t count = wait_for_request(descriptor, buffer, length);
    if (count < (ssize_t)sizeof(struct in_header)) return count;
    if (admit(channel, descriptor, buffer)) return count;
  }
}

ssize_t cchannel_writev(int descriptor, struct iovec *vectors, int count, void *data) {
  struct cchannel *channel = data;
  if (atomic_load_explicit(&channel->is_muted, memory_order_relaxed)) {
    ssize_t total = 0;
    for (int index = 0; index < count; index++) total += (ssize_t)vectors[index].iov_len;
    return total;
  }
  uint64_t unique = 0;
  if (count > 0 && vectors[0].iov_len >= sizeof(struct out_header)) unique = ((struct out_header *)vectors[0].iov_base)->unique;
  ssize_t written = writev(descriptor, vectors, count);
  int error = errno;
  if (channel->record && unique != 0) {
    // Where another thread answers, the one that took the request has gone on already.
    if (self.channel == channel) cchannel_record_end(channel->record, self.slot, unique);
    else if (atomic_load(&channel->record->suspect_count) > 0) acquit(channel->record, unique & ~RESENT_BIT);
  }
  errno = error;
  return written;
}

int cchannel_resend(int descriptor) {
  struct out_header notification = {sizeof notification, NOTIFY_RESEND, 0};
  return write(descriptor, &notification, sizeof notification) == sizeof notification ? 0 : -1;
}
