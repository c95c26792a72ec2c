// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CSupervisor
import Glibc
import SystemPackage

/// Where a supervisor answers questions about its mount: a socket file in a directory that only its user can enter, named after the mount's
/// device number. Who asks must be the same user.
package final class ControlSocket {
  let listener: FileDescriptor
  private(set) var clients: [Channel] = []
  private let path: String

  /// Nil where no directory is fit for it: the mount goes on without.
  init?(device: String) {
    for directory in Self.directories where Self.make(directory) {
      let path = Self.path(in: directory, device)
      let listener = csupervisor_listen(path)
      if listener >= 0 {
        self.listener = FileDescriptor(rawValue: listener)
        self.path = path
        return
      }
    }
    return nil
  }

  /// A line to the supervisor of a mount; nil when there is none.
  package static func connect(device: String) -> Channel? {
    for directory in directories where isPrivate(directory) {
      let client = csupervisor_connect(path(in: directory, device))
      if client < 0 { continue }
      if csupervisor_is_same_user(client) != 0 { return Channel(descriptor: FileDescriptor(rawValue: client)) }
      close(client)
    }
    return nil
  }

  /// Lets the next client in.
  func accept() {
    let client = csupervisor_accept(listener.rawValue)
    if client >= 0 { clients.append(Channel(descriptor: FileDescriptor(rawValue: client))) }
  }

  /// The client is no longer looked after.
  func forget(_ client: Channel) { clients.removeAll { $0.descriptor == client.descriptor } }

  /// The end: nobody can ask any more.
  func remove() {
    unlink(path)
    try? listener.close()
    for client in clients { client.close() }
  }

  // MARK: Directories

  private static var directories: [String] {
    var result = geteuid() == 0 ? ["/run/distri-fuse"] : []
    if let folder = getenv("XDG_RUNTIME_DIR").map({ String(cString: $0) }), folder.hasPrefix("/") {
      result.append(folder + "/distri-fuse")
    }
    return result + ["/tmp/distri-fuse-\(outerUser)"]
  }

  /// Our user as the machine knows it: everybody is 0 in a user namespace of their own.
  private static var outerUser: UInt32 {
    let map = ProcessCalls.text(of: "/proc/self/uid_map")
    for line in map.split(separator: "\n") {
      let numbers = line.split(separator: " ").compactMap { UInt32($0) }
      guard numbers.count == 3, geteuid() >= numbers[0], geteuid() - numbers[0] < numbers[2] else { continue }
      return numbers[1] &+ (geteuid() - numbers[0])
    }
    return geteuid()
  }

  private static func path(in directory: String, _ device: String) -> String {
    directory + "/" + device.map { $0 == ":" ? "-" : String($0) }.joined() + ".sock"
  }

  private static func make(_ directory: String) -> Bool {
    _ = mkdir(directory, 0o700)
    return isPrivate(directory)
  }

  /// Whether nobody else can put anything there.
  private static func isPrivate(_ directory: String) -> Bool {
    var status = stat()
    return lstat(directory, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR && status.st_uid == geteuid()
      && status.st_mode & 0o077 == 0
  }
}
