// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

#ifndef DISTRI_CINIT_H
#define DISTRI_CINIT_H

#endif
