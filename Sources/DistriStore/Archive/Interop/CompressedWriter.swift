// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CArchive
import Glibc
import SystemPackage

/// libarchive's zstd filter over an open file, without an archive. Not thread-safe, like the library.
@safe final class CompressedWriter {
  private let archive: OpaquePointer
  private let entry: OpaquePointer
  private let path: FilePath

  /// - Parameter path: for messages.
  init(level: Int, to output: FileDescriptor, path: FilePath) throws(StoreError) {
    guard let archive = unsafe archive_write_new() else { throw .system(operation: "compress", path: path, .noMemory) }
    guard let entry = unsafe archive_entry_new() else {
      unsafe archive_write_free(archive)
      throw .system(operation: "compress", path: path, .noMemory)
    }
    unsafe self.archive = archive
    unsafe self.entry = entry
    self.path = path
    try check(unsafe archive_write_set_format_raw(archive))
    try check(unsafe archive_write_add_filter_zstd(archive))
    try check(unsafe archive_write_set_filter_option(archive, "zstd", "compression-level", "\(level)"))
    // No padding behind the last byte.
    try check(unsafe archive_write_set_bytes_in_last_block(archive, 1))
    try check(unsafe archive_write_open_fd(archive, output.rawValue))
    unsafe archive_entry_set_filetype(entry, UInt32(Glibc.S_IFREG))
    try check(unsafe archive_write_header(archive, entry))
  }

  deinit {
    unsafe archive_entry_free(entry)
    unsafe archive_write_free(archive)
  }

  /// Compresses all of the file, and ends what is written.
  func write(contentsOf file: OwnedDescriptor) throws(StoreError) {
    let buffer = TransferBuffer(byteCount: 1 << 20)
    var offset: UInt64 = 0
    while true {
      do {
        try buffer.fill { output throws(Errno) in
          _ = try file.descriptor.readAppending(at: offset, limit: .max, to: &output)
        }
      } catch {
        throw .system(operation: "read", path: path, error)
      }
      if buffer.count == 0 { break }
      let written = unsafe archive_write_data(archive, buffer.bytes.baseAddress, buffer.count)
      guard written == buffer.count else { throw failure() }
      offset += UInt64(buffer.count)
    }
    try check(unsafe archive_write_close(archive))
  }

  private func check(_ result: Int32) throws(StoreError) {
    if result != ARCHIVE_OK { throw failure() }
  }

  private func failure() -> StoreError {
    let errno = unsafe archive_errno(archive)
    if errno > 0 { return .system(operation: "compress", path: path, Errno(rawValue: errno)) }
    let message = unsafe archive_error_string(archive).map { unsafe String(cString: $0) }
    return .invalidArchive(path, entry: nil, reason: message ?? "libarchive cannot compress it")
  }
}
