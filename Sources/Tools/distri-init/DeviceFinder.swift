// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// Finds a block device, and waits for it where it is not there yet.
struct DeviceFinder {
  /// A block device that the kernel has, and what is on it.
  struct Device: Equatable {
    /// Below /dev.
    let path: String
    /// Nil where it has no file system of ours, or cannot be read.
    var superblock: Ext4Superblock?
    /// Nil where it is not encrypted, or cannot be read.
    var luks: LUKSHeader?

    init(path: String, superblock: Ext4Superblock? = nil, luks: LUKSHeader? = nil) {
      self.path = path
      self.superblock = superblock
      self.luks = luks
    }

    /// Looks at the device.
    init(readingFrom path: String) {
      self.init(path: path)
      guard let bytes = try? System.read(path, count: Ext4Superblock.offset + Ext4Superblock.byteCount) else { return }
      superblock = Ext4Superblock(Array(bytes.dropFirst(Ext4Superblock.offset)))
      luks = LUKSHeader(bytes)
    }
  }

  let wanted: DeviceSpecification

  /// - Parameter drivers: are loaded for what appears meanwhile.
  /// - Returns: the path of the device.
  /// - Throws: when it has not appeared in time; the hints say which devices there are.
  func find(until deadline: Deadline, _ drivers: inout Drivers) throws -> String {
    // Opened before the first look: a device that comes in between is not missed.
    let events = try Uevents()
    while true {
      var names: [String] = []
      repeat {
        let present = System.names(in: Self.directory)
        if let device = present.filter({ !names.contains($0) }).map(Self.device(named:)).first(where: matches) {
          return device.path
        }
        names = present
      } while drivers.loadNext()
      guard events.wait(until: deadline) else {
        throw BootFailure(
          "\(subject) has not appeared",
          hints: Self.hints(for: names.map(Self.device(named:))) + ["drivers that were loaded: \(drivers.summary)"])
      }
    }
  }

  private var subject: String {
    if case .encrypted = wanted { return "the encrypted device \(wanted)" }
    return "the root file system \(wanted)"
  }

  private func matches(_ device: Device) -> Bool {
    switch wanted {
    case .device(let path): path == device.path
    case .encrypted(let uuid): device.luks?.uuid == uuid
    case .label, .uuid: device.superblock?.matches(wanted) ?? false
    }
  }

  private static let directory = "/sys/class/block"

  private static func device(named name: String) -> Device {
    // The kernel writes the slash of a device's name as an exclamation mark.
    Device(readingFrom: "/dev/" + String(name.map { $0 == "!" ? "/" : $0 }))
  }

  static func hints(for devices: [Device]) -> [String] {
    if devices.isEmpty {
      return [
        "there is no disk at all; is its driver in the initramfs? distri-mkimage build --module NAME adds one, and an initramfs made with --hostonly has only those of the machine that made it"
      ]
    }
    let lines = devices.map { device in
      if let luks = device.luks { return "\(device.path): LUKS UUID=\(DeviceSpecification.text(ofUUID: luks.uuid))" }
      guard let superblock = device.superblock else { return "\(device.path): no ext4 file system" }
      let label = String(decoding: superblock.label, as: UTF8.self)
      return "\(device.path): LABEL=\(label) UUID=\(DeviceSpecification.text(ofUUID: superblock.uuid))"
    }
    return ["these devices are there; root= has to name one of them (rd.luks.uuid= one that is encrypted):"] + lines
  }
}
