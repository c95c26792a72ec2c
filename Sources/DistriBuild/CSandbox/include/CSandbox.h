// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

// fork → namespaces → mounts → exec, async-signal-safe.
#ifndef DISTRI_CSANDBOX_H
#define DISTRI_CSANDBOX_H

#endif
