// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

#ifndef DISTRI_CFUSE_SHIM_H
#define DISTRI_CFUSE_SHIM_H

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#endif
