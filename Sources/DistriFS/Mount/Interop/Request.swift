// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CChannel
import CFUSE
import CLinux
import DistriStore
import Glibc
import SystemPackage

/// One question of the kernel, answered exactly once.
///
/// `@unchecked Sendable`: libfuse lets a request be answered on any thread, and it is never used after its answer.
@safe struct Request: @unchecked Sendable {
  /// Asks the file system and replies at its end, or throws and has not replied.
  typealias Body = @Sendable (any FileSystem, Request) throws(FileSystemFailure) -> Void

  private let handle: fuse_req_t

  init?(_ handle: fuse_req_t?) {
    guard let handle = unsafe handle else { return nil }
    unsafe self.handle = handle
  }

  /// Runs the body, replies its error, or parks the request until what it needs is there.
  func serve(_ body: @escaping Body) {
    guard let channel = unsafe fuse_req_userdata(handle), let data = unsafe cchannel_context(OpaquePointer(channel)) else {
      return reply(error: .ioError)
    }
    let context = unsafe Unmanaged<Context>.fromOpaque(data).takeUnretainedValue()
    do throws(FileSystemFailure) {
      try body(context.fileSystem, self)
    } catch {
      switch error {
      case .errno(let errno): reply(error: errno)
      case .notReady(let isReady): context.park(self, until: isReady, body)
      }
    }
  }

  func reply(error: Errno) { _ = unsafe fuse_reply_err(handle, error.rawValue) }

  /// For requests that get no answer.
  func replyNone() { unsafe fuse_reply_none(handle) }

  /// False when the kernel did not take it: then it holds no reference to the inode.
  func reply(entry attributes: Attributes) -> Bool {
    var entry = fuse_entry_param(attributes)
    return unsafe fuse_reply_entry(handle, &entry) == 0
  }

  /// There is no such entry, and the kernel may remember that.
  func replyAbsent() {
    var entry = fuse_entry_param()
    entry.entry_timeout = withoutEnd
    _ = unsafe fuse_reply_entry(handle, &entry)
  }

  func reply(attributes: Attributes) {
    var status = stat(attributes)
    _ = unsafe fuse_reply_attr(handle, &status, withoutEnd)
  }

  func reply(capacity: FileSystemCapacity) {
    var result = statvfs()
    result.f_bsize = 4096
    result.f_frsize = 4096
    result.f_blocks = fsblkcnt_t(truncatingIfNeeded: capacity.byteCount / 4096)
    result.f_files = fsfilcnt_t(truncatingIfNeeded: capacity.fileCount)
    result.f_namemax = 255
    _ = unsafe fuse_reply_statfs(handle, &result)
  }

  func reply(bytes: [UInt8]) {
    var buffer = ReplyBuffer()
    buffer.append(bytes)
    reply(buffer)
  }

  /// One gathered write to the kernel.
  func reply(_ buffer: borrowing ReplyBuffer) {
    // A failed write has ended the request: the kernel answers EIO to who asked.
    _ = unsafe buffer.withVectors { vectors in
      unsafe fuse_reply_iov(handle, vectors.baseAddress, Int32(truncatingIfNeeded: vectors.count))
    }
  }

  /// The value, or how long it is where `capacity` is 0.
  func reply(attributeValue value: [UInt8], capacity: Int) {
    if capacity == 0 {
      _ = unsafe fuse_reply_xattr(handle, value.count)
    } else if value.count > capacity {
      reply(error: .outOfRange)
    } else {
      reply(bytes: value)
    }
  }

  /// A page of a listing: `.` and `..` have the offsets 1 and 2, the file system's cookies come after them.
  func replyListing(
    of directory: NodeID, from offset: UInt64, byteCount: Int, _ fileSystem: any FileSystem
  ) throws(FileSystemFailure) {
    let page = unsafe DirectoryPage(request: handle, byteCount: byteCount)
    if offset < 1, !page.append(".", inode: directory, offset: 1) { return reply(error: .invalidArgument) }
    if offset < 2, !page.append("..", inode: nil, offset: 2) { return page.reply() }
    do throws(FileSystemFailure) {
      try fileSystem.entries(of: directory, after: offset > 2 ? offset - 2 : 0) { name, attributes, cookie in
        page.append(name.bytes, attributes, offset: cookie &+ 2)
      }
    } catch {
      // What is on the page counts as looked up. The error comes back when the kernel asks for the next page.
      if page.isEmpty { throw error }
    }
    page.reply()
  }
}

/// As long as the kernel can count: what changes is invalidated by name. Seconds.
let withoutEnd: Double = 1e9

/// The reply to READDIRPLUS, of a size that the kernel chose, in memory that is written once and sent as it is.
@safe private final class DirectoryPage {
  private let request: fuse_req_t
  private let memory: UnsafeMutableRawBufferPointer
  private var count = 0

  init(request: fuse_req_t, byteCount: Int) {
    unsafe self.request = request
    unsafe memory = .allocate(byteCount: min(max(byteCount, 1), 1 << 20), alignment: 8)
  }

  deinit { unsafe memory.deallocate() }

  var isEmpty: Bool { count == 0 }

  func reply() { _ = unsafe fuse_reply_buf(request, memory.baseAddress?.assumingMemoryBound(to: CChar.self), count) }

  /// An entry that the kernel looks up when it is asked for it.
  func append(_ name: String, inode: NodeID?, offset: UInt64) -> Bool {
    var entry = fuse_entry_param()
    entry.attr.st_ino = ino_t(inode?.number ?? 0xffff_ffff)
    entry.attr.st_mode = S_IFDIR
    return append(Array(name.utf8), &entry, offset: offset)
  }

  func append(_ name: [UInt8], _ attributes: Attributes, offset: UInt64) -> Bool {
    var entry = fuse_entry_param(attributes)
    return append(name, &entry, offset: offset)
  }

  private func append(_ name: [UInt8], _ entry: inout fuse_entry_param, offset: UInt64) -> Bool {
    let room = unsafe memory.count - count
    let needed = unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: name.count + 1) { text in
      for (index, byte) in name.enumerated() { unsafe text[index] = CChar(bitPattern: byte) }
      unsafe text[name.count] = 0
      return unsafe fuse_add_direntry_plus(
        request, memory.baseAddress.map { unsafe ($0 + count).assumingMemoryBound(to: CChar.self) }, room, text.baseAddress, &entry,
        off_t(truncatingIfNeeded: offset))
    }
    guard needed <= room else { return false }
    count += needed
    return true
  }
}

extension fuse_entry_param {
  fileprivate init(_ attributes: Attributes) {
    self.init()
    ino = attributes.inode.number
    attr = stat(attributes)
    attr_timeout = withoutEnd
    entry_timeout = withoutEnd
  }
}

extension stat {
  fileprivate init(_ attributes: Attributes) {
    self.init()
    st_ino = ino_t(attributes.inode.number)
    st_mode = attributes.kind.format | mode_t(attributes.permissions)
    st_nlink = .init(truncatingIfNeeded: attributes.linkCount)
    st_uid = attributes.userID
    st_gid = attributes.groupID
    st_size = off_t(clamping: attributes.byteCount)
    // As the kernel's own SquashFS counts: regular files only, in units of 512 bytes.
    st_blocks = attributes.kind == .regular ? blkcnt_t(clamping: (attributes.byteCount &+ 511) / 512) : 0
    st_blksize = 4096
    st_rdev = dev_t(clinux_makedev(attributes.device.major, attributes.device.minor))
    st_mtim.tv_sec = time_t(attributes.modificationTime)
    st_atim = st_mtim
    st_ctim = st_mtim
  }
}

extension PackageImage.Kind {
  /// The type bits of a mode.
  fileprivate var format: mode_t {
    switch self {
    case .directory: S_IFDIR
    case .regular: S_IFREG
    case .symbolicLink: S_IFLNK
    case .characterDevice: S_IFCHR
    case .blockDevice: S_IFBLK
    case .fifo: S_IFIFO
    case .socket: S_IFSOCK
    }
  }
}
