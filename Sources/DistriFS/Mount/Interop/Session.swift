// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CChannel
import CFUSE
import Glibc
import Synchronization
import SystemPackage

/// What serves a connection: a libfuse session, its threads, and the way back into the kernel. The connection stays when the session ends.
///
/// `@unchecked Sendable`: the handles are set once, and the functions of libfuse that are called on several threads (notify, exit) allow it.
@safe final class Session: @unchecked Sendable {
  let connection: Connection
  let context: Context
  private let handle: OpaquePointer
  private let channel: OpaquePointer
  private let record: RequestRecord?
  private let maximumThreadCount: Int

  /// Makes a session that knows what the kernel and its first server have agreed on. Nothing is answered before ``run()``.
  init(
    of fileSystem: any FileSystem, on connection: Connection, maximumThreadCount: Int, record: RequestRecord? = nil
  ) throws(MountError) {
    self.connection = connection
    self.record = record
    self.maximumThreadCount = maximumThreadCount
    context = Context(fileSystem: fileSystem)
    // Released in deinit, after the session, which is the last to use it.
    let data = unsafe Unmanaged.passRetained(context)
    do throws(MountError) {
      unsafe (handle, channel) = try Session.open(connection, data.toOpaque(), record)
    } catch {
      unsafe data.release()
      throw error
    }
    unsafe cchannel_set_muted(channel, 1)
    unsafe Session.greet(handle, connection.greeting)
    unsafe cchannel_set_muted(channel, 0)
  }

  deinit {
    unsafe fuse_session_destroy(handle)
    unsafe cchannel_destroy(channel)
    unsafe Unmanaged.passUnretained(context).release()
  }

  /// Answers the kernel's greeting for all servers to come.
  static func answerGreeting(on connection: Connection) throws(MountError) {
    let (handle, channel) = unsafe try open(connection, nil, nil)
    unsafe greet(handle, connection.greeting)
    unsafe fuse_session_destroy(handle)
    unsafe cchannel_destroy(channel)
  }

  private static func open(
    _ connection: Connection, _ context: UnsafeMutableRawPointer?, _ record: RequestRecord?
  ) throws(MountError) -> (OpaquePointer, OpaquePointer) {
    LibraryLog.capture()
    let failure = MountError.system(operation: "serve", path: connection.mountPoint, .noMemory)
    guard let channel = unsafe cchannel_create(context, record?.memory) else { throw failure }
    var arguments = unsafe fuse_args()
    defer { unsafe fuse_opt_free_args(&arguments) }
    _ = unsafe fuse_opt_add_arg(&arguments, "distri")
    var operations = Callbacks.table
    guard
      let handle = unsafe fuse_session_new(
        &arguments, &operations, MemoryLayout<fuse_lowlevel_ops>.size, UnsafeMutableRawPointer(channel))
    else {
      unsafe cchannel_destroy(channel)
      throw .refused(connection.mountPoint, reason: LibraryLog.last)
    }
    // The session closes what it is given; it has no descriptor of its own of the kernel's making, which would abort its requests.
    let descriptor = fcntl(connection.descriptor.rawValue, F_DUPFD_CLOEXEC, 3)
    var functions = fuse_custom_io()
    unsafe functions.read = cchannel_read
    unsafe functions.writev = cchannel_writev
    guard descriptor >= 0, unsafe fuse_session_custom_io(handle, &functions, descriptor) == 0 else {
      let error = Errno(rawValue: descriptor < 0 ? errno : ENOMEM)
      if descriptor >= 0 { close(descriptor) }
      unsafe fuse_session_destroy(handle)
      unsafe cchannel_destroy(channel)
      throw .system(operation: "serve", path: connection.mountPoint, error)
    }
    return unsafe (handle, channel)
  }

  private static func greet(_ handle: OpaquePointer, _ greeting: [UInt8]) {
    var bytes = greeting
    unsafe bytes.withUnsafeMutableBytes { bytes in
      var buffer = unsafe fuse_buf()
      unsafe buffer.mem = bytes.baseAddress
      unsafe buffer.size = bytes.count
      unsafe fuse_session_process_buf(handle, &buffer)
    }
  }

  /// Makes the kernel send again what a server before has taken and not answered.
  ///
  /// - Throws: `EINVAL` of a kernel that cannot.
  func resumeRequests() throws(Errno) {
    guard cchannel_resend(connection.descriptor.rawValue) == 0 else { throw Errno(rawValue: errno) }
  }

  /// Answers requests on threads of libfuse; returns when the connection has ended or after ``exit()``.
  func run() {
    let configuration = unsafe fuse_loop_cfg_create()
    unsafe fuse_loop_cfg_set_max_threads(configuration, UInt32(clamping: max(1, maximumThreadCount)))
    // Descriptors of their own would abort their requests when a thread ends.
    unsafe fuse_loop_cfg_set_clone_fd(configuration, 0)
    _ = unsafe fuse_session_loop_mt(handle, configuration)
    unsafe fuse_loop_cfg_destroy(configuration)
    context.ended.open()
  }

  /// Starts to answer on threads of its own.
  func start() throws(MountError) {
    guard SystemCalls.detachThread({ [self] in run() }) else {
      throw .system(operation: "start a thread for", path: connection.mountPoint, .resourceTemporarilyUnavailable)
    }
  }

  /// Makes the kernel forget. Names first: that waits for look-ups and listings that were answered from the old state.
  func invalidate(_ changes: [FileSystemChange]) {
    for case .entry(let name, let directory) in changes {
      let bytes = name.bytes + [0]
      _ = unsafe bytes.withUnsafeBytes { buffer in
        unsafe fuse_lowlevel_notify_inval_entry(
          handle, directory.number, buffer.baseAddress?.assumingMemoryBound(to: CChar.self), buffer.count - 1)
      }
    }
    for case .directory(let directory) in changes {
      _ = unsafe fuse_lowlevel_notify_inval_inode(handle, directory.number, 0, 0)
    }
  }

  /// Answers what has been read, ends the threads, unmounts.
  func stop() async {
    unsafe fuse_session_exit(handle)
    wakeThread()
    await context.ended.waitUninterrupted()
    await context.close()
    connection.unmount()
    // Both lines to the kernel end now, not when the last reference goes: a question that was read and not answered, such as the one that
    // woke us, could never end before, and would hold up the end of the process.
    if let null = try? FileDescriptor.open(FilePath("/dev/null"), .readWrite, options: .closeOnExec) {
      let lines = unsafe [fuse_session_fd(handle), connection.descriptor.rawValue]
      for line in lines { dup2(null.rawValue, line) }
      try? null.close()
    }
  }

  /// Threads wait in a read of the kernel's next request, and look only between requests whether it is over: so there must be one.
  private func wakeThread() {
    guard connection.isMounted else {
      // Detached by somebody, but in use. Where this is not possible, the threads end when the last user does.
      let minor = connection.device.drop { $0 != ":" }.dropFirst()
      try? SystemCalls.write("1\n", to: FilePath("/sys/fs/fuse/connections/\(minor)/abort"))
      return
    }
    // On a thread of its own, which must not keep the connection: if the threads have just seen that it is over, the question is answered
    // only when the descriptor is closed.
    SystemCalls.detachThread { [mountPoint = connection.mountPoint] in try? SystemCalls.askCapacity(of: mountPoint) }
  }
}

/// libfuse writes its complaints to standard error unless it is given a function; a library must not, so the last one is kept for the error.
enum LibraryLog {
  private static let message = Mutex("")

  /// The last complaint.
  static var last: String { message.withLock { $0 } }

  static func capture() {
    message.withLock { $0 = "" }
    unsafe fuse_set_log_func { @Sendable _, format, arguments in
      guard let format = unsafe format, let arguments = unsafe arguments else { return }
      var buffer = [CChar](repeating: 0, count: 512)
      let count = Int(unsafe vsnprintf(&buffer, buffer.count, format, arguments))
      let text = buffer.prefix(max(0, min(count, buffer.count - 1))).map { UInt8(bitPattern: $0) }
      LibraryLog.message.withLock { $0 = String(decoding: text.filter { $0 >= 0x20 }, as: UTF8.self) }
    }
  }
}
