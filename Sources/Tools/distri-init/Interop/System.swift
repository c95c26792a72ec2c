// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CInit
import Glibc

/// The system calls of process 1, with errors as errors. Paths must not contain NUL.
enum System {
  /// A call that failed.
  struct CallFailure: Error, CustomStringConvertible {
    let call: String
    let code: Int32

    init(_ call: String, code: Int32 = errno) {
      self.call = call
      self.code = code
    }

    var description: String { "\(call): \(String(cString: strerror(code)))" }

    /// A driver has not found what it is for.
    var isMissingDevice: Bool { code == ENODEV }
  }

  /// How a file system is mounted.
  struct MountFlags: OptionSet {
    let rawValue: UInt32
    static let readOnly = MountFlags(rawValue: UInt32(CINIT_READ_ONLY))
    static let noSetUserID = MountFlags(rawValue: UInt32(CINIT_NO_SUID))
    static let noDevices = MountFlags(rawValue: UInt32(CINIT_NO_DEVICES))
    static let noExecution = MountFlags(rawValue: UInt32(CINIT_NO_EXEC))
  }

  static func mount(
    _ source: String, on target: String, type: String, flags: MountFlags = [], options: String? = nil
  ) throws(CallFailure) {
    guard cinit_mount(source, target, type, flags.rawValue, options) == 0 else {
      throw CallFailure("mount \(type) \(source) on \(target)")
    }
  }

  static func bind(_ source: String, on target: String) throws(CallFailure) {
    guard cinit_bind(source, target) == 0 else { throw CallFailure("bind \(source) on \(target)") }
  }

  static func move(_ source: String, to target: String) throws(CallFailure) {
    guard cinit_move(source, target) == 0 else { throw CallFailure("move the mount \(source) to \(target)") }
  }

  /// Makes the directory the root of this process. What was mounted on the old root stays reachable only where it was bound.
  static func switchRoot(to directory: String) throws(CallFailure) {
    guard chdir(directory) == 0 else { throw CallFailure("chdir \(directory)") }
    try move(".", to: "/")
    guard chroot(".") == 0, chdir("/") == 0 else { throw CallFailure("chroot \(directory)") }
  }

  static func makeDirectory(_ path: String) throws(CallFailure) {
    guard mkdir(path, 0o755) == 0 || errno == EEXIST else { throw CallFailure("mkdir \(path)") }
  }

  static func makeLink(_ path: String, to target: String) throws(CallFailure) {
    guard symlink(target, path) == 0 || errno == EEXIST else { throw CallFailure("symlink \(path)") }
  }

  static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

  static func isExecutable(_ path: String) -> Bool { access(path, X_OK) == 0 }

  static func remove(_ path: String) { unlink(path) }

  /// The names in a directory, sorted, without `.` and `..`; empty where it cannot be read.
  static func names(in directory: String) -> [String] {
    guard let stream = opendir(directory) else { return [] }
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if name != "." && name != ".." { names.append(name) }
    }
    return names.sorted()
  }

  /// Up to `count` bytes at an offset, fewer where the file ends.
  static func read(_ path: String, at offset: Int = 0, count: Int = 1 << 20) throws(CallFailure) -> [UInt8] {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { throw CallFailure("open \(path)") }
    defer { close(file) }
    var failure: CallFailure?
    let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
      while filled < count {
        let got = pread(file, buffer.baseAddress?.advanced(by: filled), count - filled, off_t(offset + filled))
        if got < 0 && errno == EINTR { continue }
        if got < 0 { failure = CallFailure("read \(path)") }
        if got <= 0 { break }
        filled += got
      }
    }
    if let failure { throw failure }
    return bytes
  }

  /// A small text file, such as those of /proc and /sys.
  static func text(of path: String) throws(CallFailure) -> String { String(decoding: try read(path), as: UTF8.self) }

  /// Writes what can be written: a console that is gone must not stop the machine.
  static func write(_ bytes: [UInt8], to file: Int32) {
    var rest = bytes[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { return }
      rest = rest.dropFirst(count)
    }
  }

  /// Writes to an existing file or device; false where that is not possible.
  static func write(_ bytes: [UInt8], toPath path: String) -> Bool {
    let file = open(path, O_WRONLY | O_CLOEXEC)
    guard file >= 0 else { return false }
    write(bytes, to: file)
    close(file)
    return true
  }

  static func loadModule(_ path: String) throws(CallFailure) {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { throw CallFailure("open \(path)") }
    defer { close(file) }
    guard cinit_load_module(file) == 0 || errno == EEXIST else { throw CallFailure("load the module \(path)") }
  }

  /// How the machine ends.
  enum Ending: Int32 {
    case powerOff, reboot, halt, kexec
  }

  /// Ends all other processes, writes everything to the disks and ends the machine.
  ///
  /// - Parameters:
  ///   - root: where the root file system is mounted.
  ///   - closeDevices: closes those that the root was on, when it could be unmounted.
  static func end(_ ending: Ending = .powerOff, root: String = "/", closeDevices: () -> Void = {}) -> Never {
    sync()
    // Whoever is left, the daemon of the view among them, may hold files of the root open, also such as have no name any more: with
    // these, it could not become read-only. All are our children now.
    _ = cinit_detach(root == "/" ? "/ro" : root + "/ro")
    kill(-1, SIGKILL)
    while waitpid(-1, nil, 0) > 0 || errno == EINTR {}
    if root != "/" {
      // systemd has taken the kernel's file systems along, and left them where they were, too.
      for directory in ["dev", "proc", "sys", "run"] { _ = cinit_detach("\(root)/\(directory)") }
    }
    if root != "/" && cinit_unmount(root) == 0 {
      closeDevices()
    } else if cinit_make_read_only(root) != 0 {
      Console.say("\(CallFailure("make \(root) read-only")); it will be repaired at the next start")
    }
    sync()
    // A kernel that was not loaded cannot be started.
    if cinit_end(ending.rawValue) != 0 { _ = cinit_end(System.Ending.reboot.rawValue) }
    // Without permission or on a machine that cannot: process 1 must not end.
    while true { pause() }
  }
}
