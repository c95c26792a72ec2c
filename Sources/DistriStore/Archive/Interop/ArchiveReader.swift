// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CArchive
import DistriStore
import Glibc
import SystemPackage

/// libarchive's reader over a range of an open file. Not thread-safe, like the library.
@safe final class ArchiveReader {
  private let archive: OpaquePointer
  private let entry: OpaquePointer
  private let input: ArchiveInput
  /// The archive, for messages.
  let path: FilePath

  // The contents of the current entry: libarchive's last block, and how far the caller is.
  private var block = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
  private var blockOffset: UInt64 = 0
  private var position: UInt64 = 0
  private var ended = false

  /// - Parameter range: where the archive lies in the file, in bytes.
  convenience init(file: OwnedDescriptor, range: Range<UInt64>, path: FilePath) throws(StoreError) {
    try unsafe self.init(
      ArchiveInput(.file(file), range: range), path: path,
      formats: [
        archive_read_support_format_tar, archive_read_support_format_zip, archive_read_support_format_cpio,
        archive_read_support_format_ar,
      ])
  }

  /// Takes compressed bytes for an archive of one entry.
  convenience init(compressed bytes: [UInt8], path: FilePath) throws(StoreError) {
    try unsafe self.init(
      ArchiveInput(.bytes(bytes), range: 0..<UInt64(bytes.count)), path: path, formats: [archive_read_support_format_raw])
  }

  /// Takes a file that is compressed with zstd, once, for an archive of one entry: what comes out is not looked into.
  convenience init(zstd file: OwnedDescriptor, range: Range<UInt64>, path: FilePath) throws(StoreError) {
    try unsafe self.init(
      ArchiveInput(.file(file), range: range), path: path, formats: [archive_read_support_format_raw],
      filters: [{ unsafe archive_read_append_filter($0, ARCHIVE_FILTER_ZSTD) }])
  }

  /// One by one: «all» would include filters that start programs of the host.
  private static var filters: [(OpaquePointer?) -> Int32] {
    unsafe [
      archive_read_support_filter_bzip2, archive_read_support_filter_compress, archive_read_support_filter_gzip,
      archive_read_support_filter_lz4, archive_read_support_filter_lzip, archive_read_support_filter_lzma,
      archive_read_support_filter_xz, archive_read_support_filter_zstd,
    ]
  }

  private init(
    _ input: ArchiveInput, path: FilePath, formats: [(OpaquePointer?) -> Int32],
    filters: [(OpaquePointer?) -> Int32]? = nil
  ) throws(StoreError) {
    guard let archive = unsafe archive_read_new() else { throw .system(operation: "open archive", path: path, .noMemory) }
    guard let entry = unsafe archive_entry_new() else {
      unsafe archive_read_free(archive)
      throw .system(operation: "open archive", path: path, .noMemory)
    }
    unsafe self.archive = archive
    unsafe self.entry = entry
    self.path = path
    self.input = input
    let kinds = unsafe (filters ?? Self.filters) + formats
    for index in unsafe kinds.indices { try check(unsafe kinds[index](archive)) }
    try setCallbacks()
    try check(unsafe archive_read_open1(archive))
  }

  deinit {
    unsafe archive_entry_free(entry)
    unsafe archive_read_free(archive)
  }

  private func setCallbacks() throws(StoreError) {
    // The input lives as long as the handle that calls it: both are freed with this object, the handle first.
    try check(unsafe archive_read_set_callback_data(archive, Unmanaged.passUnretained(input).toOpaque()))
    try check(
      unsafe archive_read_set_read_callback(archive) { _, client, buffer in
        guard let client = unsafe client, let buffer = unsafe buffer else { return Int(ARCHIVE_FATAL) }
        return unsafe Unmanaged<ArchiveInput>.fromOpaque(client).takeUnretainedValue().read(buffer)
      })
    try check(
      unsafe archive_read_set_skip_callback(archive) { _, client, count in
        guard let client = unsafe client else { return 0 }
        return unsafe Unmanaged<ArchiveInput>.fromOpaque(client).takeUnretainedValue().skip(count)
      })
    try check(
      unsafe archive_read_set_seek_callback(archive) { _, client, offset, origin in
        guard let client = unsafe client else { return Int64(ARCHIVE_FATAL) }
        return unsafe Unmanaged<ArchiveInput>.fromOpaque(client).takeUnretainedValue().seek(offset, origin)
      })
  }

  /// Goes to the next entry; false at the end.
  func nextHeader() throws(StoreError) -> Bool {
    unsafe block = UnsafeRawBufferPointer(start: nil, count: 0)
    position = 0
    ended = false
    let result = unsafe carchive_next_header(archive, entry, utf8Locale)
    if result == ARCHIVE_EOF { return false }
    // A warning means that something of the entry was dropped, a name or an attribute: not what a package may rest on.
    try check(result)
    return true
  }

  /// Appends bytes of the current entry until the output is full or `byteCount` bytes were given; holes are zeros.
  func readContents(into output: inout OutputRawSpan, byteCount: UInt64) throws(StoreError) {
    while output.freeCapacity > 0, position < byteCount {
      if unsafe block.isEmpty, !ended { try nextBlock(byteCount: byteCount) }
      let next = ended ? byteCount : blockOffset
      if next > position {
        guard isSparse else { throw failure("its contents end after \(position) of \(byteCount) bytes") }
        let count = Int(min(next - position, UInt64(output.freeCapacity)))
        unsafe output.append(repeating: 0, count: count, as: UInt8.self)
        position += UInt64(count)
      } else if unsafe !block.isEmpty {
        let count = unsafe min(block.count, output.freeCapacity)
        unsafe output.withUnsafeMutableBytes { memory, initialized in
          let free = unsafe UnsafeMutableRawBufferPointer(rebasing: memory[initialized..<(initialized + count)])
          unsafe free.copyMemory(from: UnsafeRawBufferPointer(rebasing: block[..<count]))
          initialized += count
        }
        unsafe block = UnsafeRawBufferPointer(rebasing: block[count...])
        blockOffset += UInt64(count)
        position += UInt64(count)
      }
    }
    // Only at the end of an entry does libarchive compare checksums and notice contents beyond the announced size.
    while position == byteCount, unsafe block.isEmpty, !ended { try nextBlock(byteCount: byteCount) }
  }

  /// All contents of an entry that does not say its size.
  ///
  /// - Throws: ``StoreError/invalidArchive(_:entry:reason:)`` for more than the limit.
  func remainingContents(limit: Int) throws(StoreError) -> [UInt8] {
    var result: [UInt8] = []
    while let piece = try nextPiece(limit: UInt64(limit)) { result += piece }
    return result
  }

  /// The next of the contents of an entry without holes that does not say its size; nil at its end.
  ///
  /// - Throws: ``StoreError/invalidArchive(_:entry:reason:)`` for more than the limit, of all pieces together.
  func nextPiece(limit: UInt64) throws(StoreError) -> [UInt8]? {
    if ended { return nil }
    try nextBlock(byteCount: limit)
    if ended { return nil }
    let piece = unsafe [UInt8](block)
    position = blockOffset + UInt64(piece.count)
    unsafe block = UnsafeRawBufferPointer(start: nil, count: 0)
    return piece
  }

  private func nextBlock(byteCount: UInt64) throws(StoreError) {
    var start: UnsafeRawPointer?
    var count = 0
    var offset: la_int64_t = 0
    let result = unsafe archive_read_data_block(archive, &start, &count, &offset)
    if result == ARCHIVE_EOF {
      ended = true
      return
    }
    try check(result)
    guard let begin = UInt64(exactly: offset), begin >= position, begin <= byteCount, UInt64(count) <= byteCount - begin else {
      throw failure("its contents are longer than the \(byteCount) bytes announced or allowed")
    }
    unsafe block = UnsafeRawBufferPointer(start: start, count: count)
    blockOffset = begin
  }

  /// An error about the current entry.
  func failure(_ reason: String) -> StoreError {
    .invalidArchive(path, entry: name.map { String(decoding: $0, as: UTF8.self) }, reason: reason)
  }

  private func check(_ result: Int32) throws(StoreError) {
    if result == ARCHIVE_OK { return }
    if let errno = input.failure { throw .system(operation: "read", path: path, errno) }
    let message = unsafe archive_error_string(archive).map { unsafe String(cString: $0) }
    throw failure(message ?? "libarchive fails with code \(result)")
  }
}

/// The current entry's header.
extension ArchiveReader {
  /// Raw bytes as in the archive; nil when there is no name, or none that is text in the archive's own encoding.
  var name: [UInt8]? { unsafe Self.bytes(archive_entry_pathname(entry)) }
  /// What the entry is a further name of.
  var hardLinkTarget: [UInt8]? { unsafe Self.bytes(archive_entry_hardlink(entry)) }
  var symbolicLinkTarget: [UInt8]? { unsafe Self.bytes(archive_entry_symlink(entry)) }
  /// Kind and permissions, as in `st_mode`.
  var mode: UInt32 { UInt32(unsafe archive_entry_mode(entry)) }
  var userID: Int64 { unsafe archive_entry_uid(entry) }
  var groupID: Int64 { unsafe archive_entry_gid(entry) }
  /// Seconds since 1970; 0 where the archive has none.
  var modificationTime: Int64 { unsafe archive_entry_mtime_is_set(entry) != 0 ? Int64(archive_entry_mtime(entry)) : 0 }
  /// Bytes; nil where the archive does not say.
  var byteCount: Int64? { unsafe archive_entry_size_is_set(entry) != 0 ? archive_entry_size(entry) : nil }
  var deviceMajor: UInt64 { UInt64(unsafe archive_entry_rdevmajor(entry)) }
  var deviceMinor: UInt64 { UInt64(unsafe archive_entry_rdevminor(entry)) }
  var isSparse: Bool { unsafe archive_entry_sparse_count(entry) > 0 }
  var isEncrypted: Bool { unsafe archive_entry_is_data_encrypted(entry) != 0 }

  /// Sorted by name.
  var extendedAttributes: [ExtendedAttribute] {
    guard unsafe archive_entry_xattr_reset(entry) > 0 else { return [] }
    var result: [ExtendedAttribute] = []
    var name: UnsafePointer<CChar>?
    var value: UnsafeRawPointer?
    var count = 0
    while unsafe archive_entry_xattr_next(entry, &name, &value, &count) == ARCHIVE_OK {
      guard let key = unsafe Self.bytes(name) else { continue }
      result.append(
        ExtendedAttribute(name: key, value: unsafe Array(UnsafeRawBufferPointer(start: value, count: count))))
    }
    return result.sorted { $0.name.lexicographicallyPrecedes($1.name) }
  }

  private static func bytes(_ text: UnsafePointer<CChar>?) -> [UInt8]? {
    guard let text = unsafe text else { return nil }
    return unsafe Array(UnsafeRawBufferPointer(start: text, count: strlen(text)))
  }
}

/// Made once and only read afterwards: a locale object may be used by all threads.
nonisolated(unsafe) private let utf8Locale = unsafe carchive_utf8_locale()

/// What libarchive's callbacks read: a range of a file, or bytes.
@safe private final class ArchiveInput {
  enum Origin {
    case file(OwnedDescriptor)
    case bytes([UInt8])
  }

  private let origin: Origin
  private let range: Range<UInt64>
  private var position: UInt64
  private let buffer = TransferBuffer(byteCount: 256 << 10)
  /// Why the last read failed; libarchive's own message would not say.
  private(set) var failure: Errno?

  init(_ origin: Origin, range: Range<UInt64>) {
    self.origin = origin
    self.range = range
    position = range.lowerBound
  }

  func read(_ result: UnsafeMutablePointer<UnsafeRawPointer?>) -> Int {
    do {
      try buffer.fill { output throws(Errno) in
        switch origin {
        case .file(let file): _ = try file.descriptor.readAppending(at: position, limit: range.upperBound - position, to: &output)
        case .bytes(let bytes):
          for byte in bytes[Int(position)...].prefix(output.freeCapacity) { unsafe output.append(byte, as: UInt8.self) }
        }
      }
    } catch {
      failure = error
      return Int(ARCHIVE_FATAL)
    }
    unsafe result.pointee = buffer.bytes.baseAddress
    position += UInt64(buffer.count)
    return buffer.count
  }

  func skip(_ count: Int64) -> Int64 {
    let step = min(UInt64(clamping: count), range.upperBound - position)
    position += step
    return Int64(clamping: step)
  }

  func seek(_ offset: Int64, _ origin: Int32) -> Int64 {
    let base: UInt64 =
      switch origin {
      case SEEK_SET: 0
      case SEEK_CUR: position - range.lowerBound
      default: range.upperBound - range.lowerBound
      }
    let (target, overflow) = Int64(clamping: base).addingReportingOverflow(offset)
    guard !overflow, let target = UInt64(exactly: target), target <= range.upperBound - range.lowerBound else {
      return Int64(ARCHIVE_FATAL)
    }
    position = range.lowerBound + target
    return Int64(clamping: target)
  }
}
