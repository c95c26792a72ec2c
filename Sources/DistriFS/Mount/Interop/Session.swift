// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CFUSE
import Glibc
import Synchronization
import SystemPackage

/// One mount: a libfuse session, its threads, and the way back into the kernel.
///
/// `@unchecked Sendable`: the handle is set once, and the functions of libfuse that are called on several threads (notify, exit) allow it.
@safe final class Session: @unchecked Sendable {
  let mountPoint: FilePath
  let context: Context
  private let handle: OpaquePointer
  private let maximumThreadCount: Int
  /// The mount's device number as the mount table writes it; empty before ``start()``.
  private let device = Mutex("")

  /// Mounts. Nothing is answered before ``start()``.
  init(of fileSystem: any FileSystem, at mountPoint: FilePath, options: MountOptions) throws(MountError) {
    self.mountPoint = mountPoint
    context = Context(fileSystem: fileSystem)
    maximumThreadCount = options.maximumThreadCount
    LibraryLog.capture()
    var arguments = unsafe fuse_args()
    defer { unsafe fuse_opt_free_args(&arguments) }
    for word in ["distri", "-o", Self.optionText(options)] { _ = unsafe fuse_opt_add_arg(&arguments, word) }
    var operations = Callbacks.table
    // Released in deinit, after the session, which is the last to use it.
    let data = unsafe Unmanaged.passRetained(context)
    guard
      let handle = unsafe fuse_session_new(
        &arguments, &operations, MemoryLayout<fuse_lowlevel_ops>.size, data.toOpaque())
    else {
      unsafe data.release()
      throw .refused(mountPoint, reason: LibraryLog.last)
    }
    unsafe self.handle = handle
    guard unsafe mountPoint.withPlatformString({ unsafe fuse_session_mount(handle, $0) }) == 0 else {
      throw .refused(mountPoint, reason: LibraryLog.last)
    }
  }

  deinit {
    unsafe fuse_session_destroy(handle)
    unsafe Unmanaged.passUnretained(context).release()
  }

  /// Starts to answer, and returns when the kernel has been greeted.
  func start() async throws(MountError) {
    guard SystemCalls.detachThread({ [self] in loop() }) else {
      throw .system(operation: "start a thread for", path: mountPoint, .resourceTemporarilyUnavailable)
    }
    await context.started.waitUninterrupted()
    if context.ended.isOpen { throw .refused(mountPoint, reason: LibraryLog.last) }
    if let entry = try MountTable.current().entry(at: mountPoint) { device.withLock { $0 = entry.device } }
  }

  /// Answers requests until the mount is gone or ``stop()`` is called.
  private func loop() {
    let configuration = unsafe fuse_loop_cfg_create()
    unsafe fuse_loop_cfg_set_max_threads(configuration, UInt32(clamping: max(1, maximumThreadCount)))
    // Descriptors of their own would abort their requests when a thread ends.
    unsafe fuse_loop_cfg_set_clone_fd(configuration, 0)
    _ = unsafe fuse_session_loop_mt(handle, configuration)
    unsafe fuse_loop_cfg_destroy(configuration)
    context.ended.open()
    context.started.open()
  }

  /// Makes the kernel read further ahead than its default; needs root and is no more than a wish.
  func raiseReadAhead(toKilobytes count: Int) {
    let device = device.withLock { $0 }
    if device.isEmpty { return }
    try? SystemCalls.write("\(count)\n", to: FilePath("/sys/class/bdi/\(device)/read_ahead_kb"))
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
    if isStillMounted { unsafe fuse_session_unmount(handle) }
  }

  /// Whether the mount is ours that is seen at the mount point: somebody else may have unmounted it, and mounted something else there.
  private var isStillMounted: Bool {
    let device = device.withLock { $0 }
    guard let entry = try? MountTable.current().entry(at: mountPoint) else { return false }
    return entry.device == device || device.isEmpty && entry.isOurs
  }

  /// Threads wait in a read of the kernel's next request, and look only between requests whether it is over: so there must be one.
  private func wakeThread() {
    guard isStillMounted else {
      // Detached by somebody, but in use. Where this is not possible, the threads end when the last user does.
      let minor = device.withLock { String($0.drop { $0 != ":" }.dropFirst()) }
      try? SystemCalls.write("1\n", to: FilePath("/sys/fs/fuse/connections/\(minor)/abort"))
      return
    }
    // On a thread of its own: if the threads have just seen that it is over, the question is answered only when the session is closed.
    SystemCalls.detachThread { [mountPoint] in try? SystemCalls.askCapacity(of: mountPoint) }
  }

  private static func optionText(_ options: MountOptions) -> String {
    var words = ["ro", "default_permissions", "subtype=\(MountOptions.subtype)"]
    words.append("fsname=" + options.source.map { $0 == "," || $0 == "\\" ? "\\\($0)" : String($0) }.joined())
    if options.allowsOtherUsers { words.append("allow_other") }
    if options.honorsPrivileges { words += ["suid", "dev"] }
    return words.joined(separator: ",")
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
