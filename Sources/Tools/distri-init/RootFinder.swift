// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// Finds the device of the root file system, and waits for it where it is not there yet.
struct RootFinder {
  /// A block device that the kernel has, and what is on it.
  struct Device: Equatable {
    /// Below /dev.
    let path: String
    /// Nil where it has no file system of ours, or cannot be read.
    let superblock: Ext4Superblock?
  }

  let root: RootSpecification

  /// - Returns: the path of the device.
  /// - Throws: when it has not appeared in time; the hints say which devices there are.
  func find(until deadline: Deadline) throws -> String {
    // Opened before the first look: a device that comes in between is not missed.
    let events = try Uevents()
    while true {
      let devices = Self.devices()
      if let device = devices.first(where: matches) { return device.path }
      guard events.wait(until: deadline) else {
        throw BootFailure("the root file system \(root) has not appeared", hints: Self.hints(for: devices))
      }
    }
  }

  private func matches(_ device: Device) -> Bool {
    if case .device(let path) = root { return path == device.path }
    return device.superblock?.matches(root) ?? false
  }

  private static func devices() -> [Device] {
    System.names(in: "/sys/class/block").map { name in
      // The kernel writes the slash of a device's name as an exclamation mark.
      let path = "/dev/" + String(name.map { $0 == "!" ? "/" : $0 })
      let bytes = try? System.read(path, at: Ext4Superblock.offset, count: Ext4Superblock.byteCount)
      return Device(path: path, superblock: bytes.flatMap { Ext4Superblock($0) })
    }
  }

  static func hints(for devices: [Device]) -> [String] {
    if devices.isEmpty {
      return ["there is no disk at all; is its driver in the initramfs? distri-mkimage build --module NAME adds one"]
    }
    let lines = devices.map { device in
      guard let superblock = device.superblock else { return "\(device.path): no ext4 file system" }
      let label = String(decoding: superblock.label, as: UTF8.self)
      return "\(device.path): LABEL=\(label) UUID=\(RootSpecification.text(ofUUID: superblock.uuid))"
    }
    return ["these devices are there; root= has to name one of them:"] + lines
  }
}
