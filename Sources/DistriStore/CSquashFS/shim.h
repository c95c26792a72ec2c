// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

// What Swift cannot import of libsquashfs 1.x.
#ifndef DISTRI_CSQUASHFS_SHIM_H
#define DISTRI_CSQUASHFS_SHIM_H

#include <sqfs/compressor.h>
#include <sqfs/dir_writer.h>
#include <sqfs/error.h>
#include <sqfs/frag_table.h>
#include <sqfs/id_table.h>
#include <sqfs/inode.h>
#include <sqfs/io.h>
#include <sqfs/meta_writer.h>
#include <sqfs/super.h>
#include <sqfs/xattr_writer.h>

// The flexible array member at the end of an inode does not import.
static inline void *csquashfs_inode_payload(sqfs_inode_generic_t *inode) { return inode->extra; }

// Callbacks get nothing but the pointer to their object, so its state has to lie behind
// the function pointers; only C promises that layout.
typedef struct {
  sqfs_file_t file;
  sqfs_u64 size;
  int descriptor;
  int error;
} csquashfs_output;

// The same for a compressor that asks another one; without one it stores.
typedef struct {
  sqfs_compressor_t base;
  sqfs_compressor_t *inner;
} csquashfs_compressor;

#endif
