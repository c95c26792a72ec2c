// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CFUSE
import DistriStore
import Glibc
import SystemPackage

/// What libfuse calls, on its threads. Nothing here may trap.
enum Callbacks {
  /// The table for `fuse_session_new`. What is missing is answered ENOSYS by libfuse, which the kernel remembers.
  static var table: fuse_lowlevel_ops {
    var table = fuse_lowlevel_ops()
    addConnection(to: &table)
    addNames(to: &table)
    addContents(to: &table)
    return table
  }

  private static func addConnection(to table: inout fuse_lowlevel_ops) {
    unsafe table.`init` = { @Sendable _, connection in
      if let connection = unsafe connection { unsafe Callbacks.negotiate(&connection.pointee) }
    }
    unsafe table.statfs = { @Sendable request, _ in
      guard let request = unsafe Request(request) else { return }
      request.serve { fileSystem, request in request.reply(capacity: fileSystem.capacity) }
    }
    unsafe table.forget = { @Sendable request, inode, count in
      guard let request = unsafe Request(request) else { return }
      request.serve { fileSystem, request in
        fileSystem.forget(NodeID(inode), lookups: count)
        request.replyNone()
      }
    }
    unsafe table.forget_multi = { @Sendable request, count, items in
      guard let request = unsafe Request(request) else { return }
      let forgotten = unsafe UnsafeBufferPointer(start: items, count: count).map { (NodeID($0.ino), $0.nlookup) }
      request.serve { fileSystem, request in
        for (inode, lookups) in forgotten { fileSystem.forget(inode, lookups: lookups) }
        request.replyNone()
      }
    }
  }

  private static func negotiate(_ connection: inout fuse_conn_info) {
    let wanted =
      FUSE_CAP_ASYNC_READ | FUSE_CAP_READDIRPLUS | FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_NO_OPEN_SUPPORT
      | FUSE_CAP_NO_OPENDIR_SUPPORT | FUSE_CAP_CACHE_SYMLINKS
    connection.want |= UInt32(wanted) & connection.capable
    // Each listing brings the attributes along: they are at hand, and the kernel keeps them for good.
    connection.want &= ~UInt32(FUSE_CAP_READDIRPLUS_AUTO)
    // Copying from a mapped image is faster than splicing, and answers from resident memory only.
    connection.want &= ~UInt32(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE)
    connection.max_readahead = UInt32.max
    connection.max_background = 64
    connection.congestion_threshold = 48
    connection.time_gran = 1_000_000_000
  }

  private static func addNames(to table: inout fuse_lowlevel_ops) {
    unsafe table.lookup = { @Sendable request, parent, name in
      guard let request = unsafe Request(request), let name = unsafe name else { return }
      let bytes = unsafe UnsafeRawBufferPointer(start: name, count: strlen(name))
      guard let name = unsafe try? EntryName(bytes) else {
        return request.reply(error: bytes.count > 255 ? .fileNameTooLong : .noSuchFileOrDirectory)
      }
      request.serve { fileSystem, request throws(FileSystemFailure) in
        do throws(FileSystemFailure) {
          let attributes = try fileSystem.lookUp(name, in: NodeID(parent))
          if !request.reply(entry: attributes) { fileSystem.forget(attributes.inode, lookups: 1) }
        } catch .errno(.noSuchFileOrDirectory) {
          request.replyAbsent()
        }
      }
    }
    unsafe table.getattr = { @Sendable request, inode, _ in
      guard let request = unsafe Request(request) else { return }
      request.serve { fileSystem, request throws(FileSystemFailure) in
        request.reply(attributes: try fileSystem.attributes(of: NodeID(inode)))
      }
    }
    unsafe table.readlink = { @Sendable request, inode in
      guard let request = unsafe Request(request) else { return }
      request.serve { fileSystem, request throws(FileSystemFailure) in
        var buffer = ReplyBuffer()
        try fileSystem.symbolicLinkTarget(of: NodeID(inode), into: &buffer)
        guard buffer.byteCount < 4096 else { throw .errno(.fileNameTooLong) }
        request.reply(buffer)
      }
    }
    unsafe table.opendir = { @Sendable request, _, _ in
      unsafe Request(request)?.reply(error: .noFunction)
    }
    unsafe table.readdirplus = { @Sendable request, inode, size, offset, _ in
      guard let request = unsafe Request(request) else { return }
      request.serve { fileSystem, request throws(FileSystemFailure) in
        try request.replyListing(of: NodeID(inode), from: UInt64(clamping: offset), byteCount: size, fileSystem)
      }
    }
  }

  private static func addContents(to table: inout fuse_lowlevel_ops) {
    unsafe table.open = { @Sendable request, _, _ in
      // Answered once: from then on the kernel neither opens nor closes, and keeps what it has read.
      unsafe Request(request)?.reply(error: .noFunction)
    }
    unsafe table.read = { @Sendable request, inode, size, offset, _ in
      guard let request = unsafe Request(request) else { return }
      request.serve { fileSystem, request throws(FileSystemFailure) in
        var buffer = ReplyBuffer()
        let count = min(size, Callbacks.maximumReadByteCount)
        try fileSystem.read(NodeID(inode), at: UInt64(clamping: offset), count: count, into: &buffer)
        guard buffer.byteCount <= count else { throw .errno(.ioError) }
        request.reply(buffer)
      }
    }
    unsafe table.getxattr = { @Sendable request, inode, name, size in
      guard let request = unsafe Request(request), let name = unsafe name else { return }
      let wanted = unsafe Array(UnsafeRawBufferPointer(start: name, count: strlen(name)))
      request.serve { fileSystem, request throws(FileSystemFailure) in
        let attributes = try fileSystem.extendedAttributes(of: NodeID(inode))
        guard let attribute = attributes.first(where: { $0.name == wanted }) else { throw .errno(.noData) }
        request.reply(attributeValue: attribute.value, capacity: size)
      }
    }
    unsafe table.listxattr = { @Sendable request, inode, size in
      guard let request = unsafe Request(request) else { return }
      request.serve { fileSystem, request throws(FileSystemFailure) in
        var names: [UInt8] = []
        for attribute in try fileSystem.extendedAttributes(of: NodeID(inode)) { names += attribute.name + [0] }
        request.reply(attributeValue: names, capacity: size)
      }
    }
  }

  /// More than the kernel ever asks for at once, in bytes.
  private static let maximumReadByteCount = 4 << 20
}
