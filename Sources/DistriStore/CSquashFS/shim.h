// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

// What Swift cannot import of libsquashfs: flexible array members and object-style function pointers.
#ifndef DISTRI_CSQUASHFS_SHIM_H
#define DISTRI_CSQUASHFS_SHIM_H

#include <sqfs/compressor.h>
#include <sqfs/error.h>
#include <sqfs/id_table.h>
#include <sqfs/inode.h>
#include <sqfs/io.h>
#include <sqfs/meta_writer.h>
#include <sqfs/dir_writer.h>
#include <sqfs/super.h>
#include <sqfs/xattr_writer.h>
#include <sqfs/frag_table.h>

#endif
