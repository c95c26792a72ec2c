// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CLinux
import DistriStore
import Glibc
import SystemPackage

/// A directory below a root, out of which no path or link leads.
package final class RootedDirectory: Sendable {
  private let path: FilePath
  private let descriptor: FileDescriptor

  /// Opens the root itself.
  package init(root path: FilePath) throws(RepositoryError) {
    self.path = path
    do {
      descriptor = try FileDescriptor.open(path, .readOnly, options: [.closeOnExec, .directory])
    } catch {
      throw .system(operation: "open", path: path, error as? Errno ?? .ioError)
    }
  }

  private init(_ descriptor: FileDescriptor, path: FilePath) {
    self.path = path
    self.descriptor = descriptor
  }

  deinit { try? descriptor.close() }

  /// Opens a file below for reading, without waiting for a named pipe's writer. Links are followed as long as they stay below.
  package func openFile(_ path: TreePath) throws(RepositoryError) -> FileDescriptor {
    let file = unsafe withCString(path.bytes) {
      unsafe clinux_openat_beneath(descriptor.rawValue, $0, O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0, 1)
    }
    guard file >= 0 else {
      throw .system(operation: "open", path: self.path.appending(path.description), Errno(rawValue: errno))
    }
    return FileDescriptor(rawValue: file)
  }

  /// The directory at a path below; the kernel refuses links that lead out with `EXDEV`. Nil when something else is there.
  func directory(_ path: TreePath) throws(RepositoryError) -> RootedDirectory? {
    let bytes = path.isRoot ? Array(".".utf8) : path.bytes
    let file = unsafe withCString(bytes) {
      unsafe clinux_openat_beneath(descriptor.rawValue, $0, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0, 1)
    }
    let place = self.path.appending(path.description)
    guard file >= 0 else {
      let error = Errno(rawValue: errno)
      if error == .notDirectory || error == .noSuchFileOrDirectory { return nil }
      throw .system(operation: "open", path: place, error)
    }
    return RootedDirectory(FileDescriptor(rawValue: file), path: place)
  }

  /// Whether anything has the name, a dangling link included.
  func contains(_ name: EntryName) -> Bool {
    var status = stat()
    return unsafe withCString(name.bytes) { unsafe fstatat(descriptor.rawValue, $0, &status, AT_SYMLINK_NOFOLLOW) } == 0
  }

  /// Makes a directory unless something has the name.
  func createDirectory(_ name: EntryName, like attributes: PackageImage.Attributes) throws(RepositoryError) {
    if contains(name) { return }
    let mode = mode_t(attributes.permissions & 0o777)
    guard unsafe withCString(name.bytes, { unsafe mkdirat(descriptor.rawValue, $0, mode) }) == 0 || errno == EEXIST else {
      throw failure("make directory", name)
    }
  }

  /// Makes a symbolic link unless something has the name.
  func createLink(_ name: EntryName, to target: [UInt8]) throws(RepositoryError) {
    let result = unsafe withCString(target) { target in
      unsafe withCString(name.bytes) { unsafe symlinkat(target, descriptor.rawValue, $0) }
    }
    guard result == 0 || errno == EEXIST else { throw failure("link", name) }
  }

  /// Makes a file, durable and whole, unless something has the name. Set-id bits are not taken over.
  func createFile(
    _ name: EntryName, holding bytes: [UInt8], like attributes: PackageImage.Attributes
  ) throws(RepositoryError) {
    // A file without a name leaves nothing behind when we are killed. Not all file systems have that.
    var temporary: [UInt8]?
    var raw = open(Array(".".utf8), O_WRONLY | clinux_o_tmpfile())
    if raw < 0, errno == EOPNOTSUPP || errno == EISDIR {
      let name = Array(".distri-\(String(UInt64.random(in: .min ... .max), radix: 36))".utf8)
      raw = open(name, O_WRONLY | O_CREAT | O_EXCL)
      temporary = name
    }
    guard raw >= 0 else { throw failure("create", name) }
    let file = FileDescriptor(rawValue: raw)
    defer {
      try? file.close()
      if let temporary { _ = unsafe withCString(temporary) { unsafe unlinkat(descriptor.rawValue, $0, 0) } }
    }
    do {
      try file.writeAll(bytes)
      try setAttributes(of: file, like: attributes)
    } catch {
      throw .system(operation: "write", path: place(name), error as? Errno ?? .ioError)
    }
    let result = unsafe withCString(Array("/proc/self/fd/\(raw)".utf8)) { source in
      unsafe withCString(name.bytes) { unsafe linkat(AT_FDCWD, source, descriptor.rawValue, $0, AT_SYMLINK_FOLLOW) }
    }
    guard result == 0 || errno == EEXIST else { throw failure("link", name) }
  }

  /// Puts a file in the place of another one, durable and whole, in one step.
  func replaceFile(
    _ name: EntryName, by bytes: [UInt8], like attributes: PackageImage.Attributes
  ) throws(RepositoryError) {
    let random = Array(".distri-\(String(UInt64.random(in: .min ... .max), radix: 36))".utf8)
    let temporary: EntryName
    do { temporary = try EntryName(random) } catch { throw failure("create", name) }
    try createFile(temporary, holding: bytes, like: attributes)
    let result = unsafe withCString(random) { from in
      unsafe withCString(name.bytes) { unsafe renameat(descriptor.rawValue, from, descriptor.rawValue, $0) }
    }
    guard result == 0 else { throw failure("rename", name) }
    guard fsync(descriptor.rawValue) == 0 else { throw failure("fsync", name) }
  }

  /// What a regular file holds; nil for anything else, and for what is larger. Links are not followed.
  func contents(of name: EntryName, limit: Int) -> [UInt8]? {
    let raw = unsafe withCString(name.bytes) {
      unsafe clinux_openat_beneath(descriptor.rawValue, $0, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC, 0, 0)
    }
    guard raw >= 0 else { return nil }
    let file = FileDescriptor(rawValue: raw)
    defer { try? file.close() }
    guard let status = try? Files.status(of: file), status.isRegular,
      let bytes = try? [UInt8](contentsOf: file, upTo: limit), bytes.count <= limit
    else { return nil }
    return bytes
  }

  private func open(_ name: [UInt8], _ flags: Int32) -> Int32 {
    unsafe withCString(name) { unsafe clinux_openat_beneath(descriptor.rawValue, $0, flags | O_CLOEXEC, 0o600, 0) }
  }

  private func setAttributes(of file: FileDescriptor, like attributes: PackageImage.Attributes) throws {
    // Owners are root's to give.
    if geteuid() == 0, fchown(file.rawValue, attributes.userID, attributes.groupID) != 0 { throw Errno(rawValue: errno) }
    guard fchmod(file.rawValue, mode_t(attributes.permissions & 0o777)) == 0, fsync(file.rawValue) == 0 else {
      throw Errno(rawValue: errno)
    }
  }

  private func place(_ name: EntryName) -> FilePath { path.appending(name.description) }

  private func failure(_ operation: String, _ name: EntryName) -> RepositoryError {
    .system(operation: operation, path: place(name), Errno(rawValue: errno))
  }

  private func withCString<R>(_ bytes: [UInt8], _ body: (UnsafePointer<CChar>) -> R) -> R {
    var terminated = bytes.map { CChar(bitPattern: $0) }
    terminated.append(0)
    // An array that holds a byte at least has an address.
    return unsafe terminated.withUnsafeBufferPointer { unsafe body($0.baseAddress.unsafelyUnwrapped) }
  }
}
