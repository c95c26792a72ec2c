// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

// How libfuse reads requests and writes answers on a descriptor that outlives it (fuse_session_custom_io). In C, since libfuse cancels
// threads that wait in `read`, and a cancelled thread must not unwind through Swift.
#ifndef DISTRI_CCHANNEL_H
#define DISTRI_CCHANNEL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

/// Which requests are being served, in memory that a server shares with its supervisor: it tells who was in flight when a server died.
struct cchannel_record;

/// A new record, shared with processes that are forked afterwards; NULL and errno.
struct cchannel_record *cchannel_record_create(void);
void cchannel_record_destroy(struct cchannel_record *record);

/// After a server's death: counts it for all requests that were being served.
void cchannel_record_settle(struct cchannel_record *record);

/// How many requests were refused because servers died of them.
uint64_t cchannel_record_refused(struct cchannel_record *record);

/// For tests, and for servers that are no libfuse sessions: a request begins (0, or EIO when it is not to be served), and ends.
int cchannel_record_begin(struct cchannel_record *record, unsigned slot, uint64_t unique);
void cchannel_record_end(struct cchannel_record *record, unsigned slot, uint64_t unique);

/// The user data of a libfuse session.
struct cchannel;

/// `context` is what the session's callbacks look for; `record` may be NULL.
struct cchannel *cchannel_create(void *context, struct cchannel_record *record);
void cchannel_destroy(struct cchannel *channel);
void *cchannel_context(const struct cchannel *channel);

/// Whether what the session writes is thrown away: the answer to a greeting that was answered before.
void cchannel_set_muted(struct cchannel *channel, int is_muted);

/// The members of `struct fuse_custom_io`; the user data is the channel.
ssize_t cchannel_read(int descriptor, void *buffer, size_t length, void *channel);
ssize_t cchannel_writev(int descriptor, struct iovec *vectors, int count, void *channel);

/// Makes the kernel send again what a dead server has taken and not answered (FUSE_NOTIFY_RESEND, Linux 6.9); -1 and errno.
int cchannel_resend(int descriptor);

#endif
