// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

#ifndef DISTRI_CARCHIVE_SHIM_H
#define DISTRI_CARCHIVE_SHIM_H

#include <archive.h>
#include <archive_entry.h>
#include <locale.h>

// libarchive turns the UTF-8 names of pax and zip entries into the thread's character set, which is ASCII in a program that
// never calls setlocale(3), and a library must not call it. LC_CTYPE_MASK does not import. Null where there is no such locale.
static inline locale_t carchive_utf8_locale(void) { return newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0); }

// archive_read_next_header2(3) under that locale.
static inline int carchive_next_header(struct archive *archive, struct archive_entry *entry, locale_t locale) {
  locale_t previous = locale ? uselocale(locale) : (locale_t)0;
  int result = archive_read_next_header2(archive, entry);
  if (locale) uselocale(previous);
  return result;
}

#endif
