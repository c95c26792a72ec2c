// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

// Typed shims for libcurl's variadic setopt and getinfo.
#ifndef DISTRI_CCURL_SHIM_H
#define DISTRI_CCURL_SHIM_H

#include <curl/curl.h>

#endif
