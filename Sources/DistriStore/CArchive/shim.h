// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

#ifndef DISTRI_CARCHIVE_SHIM_H
#define DISTRI_CARCHIVE_SHIM_H

#include <archive.h>
#include <archive_entry.h>

#endif
