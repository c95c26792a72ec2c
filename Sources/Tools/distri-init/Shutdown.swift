// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// The end of a machine that systemd has run: from the root back to the initramfs.
///
/// systemd-shutdown ends all processes but those that root storage depends on, makes the initramfs (`/run/initramfs`) the root again, and runs
/// `/shutdown` there as the first process, with what is to happen as its first argument.
enum Shutdown {
  /// Where systemd looks for it.
  static let program = "/shutdown"
  /// Where systemd leaves the root that was.
  private static let root = "/oldroot"

  static func run(_ verb: String?) -> Never { System.end(ending(for: verb), root: root, closeDevices: EncryptedDevice.closeAll) }

  /// What systemd's words mean; a machine that is told something else is turned off.
  static func ending(for verb: String?) -> System.Ending {
    switch verb {
    case "reboot": .reboot
    case "halt": .halt
    case "kexec": .kexec
    default: .powerOff
    }
  }
}
