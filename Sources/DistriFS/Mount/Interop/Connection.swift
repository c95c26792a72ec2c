// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CFUSE
import Glibc
import SystemPackage

/// A mount's line to the kernel: the descriptor of `/dev/fuse` and the kernel's greeting.
///
/// It outlives who serves it. A supervisor opens it, and starts a process that calls ``serve(_:on:takingOver:maximumThreadCount:record:logger:started:)``;
/// when that dies, the next one takes over, and who uses the mount only waits. The mount ends when the last process that has the
/// descriptor closes it.
public final class Connection: Sendable {
  /// What requests are read from. It belongs to the connection; a duplicate can be sent to another process.
  public let descriptor: FileDescriptor
  /// The first request, raw: whoever takes over needs it, together with the descriptor, for ``init(adopting:greeting:mountPoint:)``.
  public let greeting: [UInt8]
  /// Where it is mounted, without symbolic links.
  public let mountPoint: FilePath
  /// The mount's device number as the mount table writes it, such as `0:52`; empty where it is not seen there.
  public let device: String

  /// Goes on with a connection of another process, which has the answer to the greeting behind it.
  ///
  /// The descriptor belongs to the connection from now on.
  public init(adopting descriptor: FileDescriptor, greeting: [UInt8], mountPoint: FilePath) {
    self.descriptor = descriptor
    self.greeting = greeting
    self.mountPoint = mountPoint
    device = (try? MountTable.current().entry(at: mountPoint))?.device ?? ""
  }

  deinit { try? descriptor.close() }

  /// Mounts, and answers the kernel's greeting; nothing else is answered before somebody serves the connection. A dead mount of ours on the same
  /// place is cleared away first.
  ///
  /// - Throws: ``MountError``.
  public static func mount(at mountPoint: FilePath, options: MountOptions = MountOptions()) throws(MountError) -> Connection {
    let path = try Mount.prepare(mountPoint)
    let descriptor = try openDescriptor(at: path, options)
    let greeting: [UInt8]
    do {
      greeting = try readGreeting(from: descriptor)
    } catch {
      try? SystemCalls.unmount(path, lazily: true)
      try? descriptor.close()
      throw .system(operation: "read the kernel's greeting on", path: mountPoint, error)
    }
    let connection = Connection(adopting: descriptor, greeting: greeting, mountPoint: path)
    do throws(MountError) {
      try Session.answerGreeting(on: connection)
    } catch {
      connection.unmount()
      throw error
    }
    connection.raiseReadAhead(toKilobytes: options.readAheadKilobytes)
    return connection
  }

  /// libfuse knows how to: mount(2) for root, fusermount3 for others.
  private static func openDescriptor(at path: FilePath, _ options: MountOptions) throws(MountError) -> FileDescriptor {
    LibraryLog.capture()
    var arguments = unsafe fuse_args()
    defer { unsafe fuse_opt_free_args(&arguments) }
    for word in ["distri", "-o", optionText(options)] { _ = unsafe fuse_opt_add_arg(&arguments, word) }
    var operations = fuse_lowlevel_ops()
    guard let handle = unsafe fuse_session_new(&arguments, &operations, MemoryLayout<fuse_lowlevel_ops>.size, nil) else {
      throw .refused(path, reason: LibraryLog.last)
    }
    // Destroying a session closes its descriptor, and does not unmount.
    defer { unsafe fuse_session_destroy(handle) }
    guard unsafe path.withPlatformString({ unsafe fuse_session_mount(handle, $0) }) == 0 else {
      throw .refused(path, reason: LibraryLog.last)
    }
    let descriptor = unsafe fcntl(fuse_session_fd(handle), F_DUPFD_CLOEXEC, 3)
    guard descriptor >= 0 else {
      let error = Errno(rawValue: errno)
      try? SystemCalls.unmount(path, lazily: true)
      throw .system(operation: "mount", path: path, error)
    }
    return FileDescriptor(rawValue: descriptor)
  }

  private static func readGreeting(from descriptor: FileDescriptor) throws(Errno) -> [UInt8] {
    // The kernel gives nothing to a smaller buffer.
    var buffer = [UInt8](repeating: 0, count: 64 << 10)
    let count = try FSErrno.catching { try unsafe buffer.withUnsafeMutableBytes { try unsafe descriptor.read(into: $0) } }
    let greeting = Array(buffer[..<count])
    guard greeting.count >= 56, Self.word(greeting, at: 4) == 26 else { throw .protocolError }
    return greeting
  }

  private static func word(_ bytes: [UInt8], at offset: Int) -> UInt32 {
    guard offset >= 0, bytes.count >= offset + 4 else { return 0 }
    return (0..<4).reduce(0) { $0 | UInt32(bytes[offset + $1]) << (8 * UInt32($1)) }
  }

  /// Whether the kernel can send again what a dead server has taken: Linux 6.9 and later. Without that, such requests wait until the
  /// mount is gone.
  public var canResend: Bool {
    // The header is 40 bytes; version, read-ahead and 32 flags follow, of which bit 30 says that there are more, then those: bit 39 of all.
    Self.word(greeting, at: 52) & 1 << 30 != 0 && Self.word(greeting, at: 56) & 1 << 7 != 0
  }

  /// Whether the kernel has ended it: unmounted, or aborted.
  public var hasEnded: Bool {
    var polled = pollfd(fd: descriptor.rawValue, events: 0, revents: 0)
    return unsafe poll(&polled, 1, 0) > 0 && Int32(polled.revents) & POLLERR != 0
  }

  /// Whether the mount is ours that is seen at the mount point: somebody else may have unmounted it, and mounted something else there.
  public var isMounted: Bool {
    guard let entry = try? MountTable.current().entry(at: mountPoint) else { return false }
    return entry.device == device || device.isEmpty && entry.isOurs
  }

  /// Takes the mount out of sight, if it is there still. Who uses it can go on for as long as it is served.
  public func unmount() {
    if isMounted { try? SystemCalls.unmount(mountPoint, lazily: true) }
  }

  /// Makes the kernel read further ahead than its default; needs root and is no more than a wish.
  private func raiseReadAhead(toKilobytes count: Int) {
    if device.isEmpty { return }
    try? SystemCalls.write("\(count)\n", to: FilePath("/sys/class/bdi/\(device)/read_ahead_kb"))
  }

  private static func optionText(_ options: MountOptions) -> String {
    var words = ["ro", "default_permissions", "subtype=\(MountOptions.subtype)"]
    words.append("fsname=" + options.source.map { $0 == "," || $0 == "\\" ? "\\\($0)" : String($0) }.joined())
    if options.allowsOtherUsers { words.append("allow_other") }
    if options.honorsPrivileges { words += ["suid", "dev"] }
    return words.joined(separator: ",")
  }
}

private enum FSErrno {
  static func catching<R>(_ body: () throws -> R) throws(Errno) -> R {
    do { return try body() } catch { throw (error as? Errno) ?? .ioError }
  }
}
