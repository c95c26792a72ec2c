// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Glibc

/// A named pipe in the file's place is opened at once instead of waiting for a writer.
let openForReadingWithoutBlocking: Int32 = O_RDONLY | O_NONBLOCK

/// The entry must not exist yet, not even as a dangling link.
let createNewForWriting: Int32 = O_WRONLY | O_CREAT | O_EXCL

/// A lock file: made by whoever comes first.
let openLockFile: Int32 = O_RDWR | O_CREAT
