// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// A device that a passphrase opens. cryptsetup does the work.
struct EncryptedDevice {
  /// Below /dev.
  let path: String
  /// 16 bytes.
  let uuid: [UInt8]

  static let program = "/bin/cryptsetup"
  /// How often the passphrase may be wrong.
  private static let attemptCount = 3
  /// cryptsetup's status for a passphrase that opens nothing.
  private static let wrongPassphrase: Int32 = 2

  private static let namePrefix = "luks-"

  /// What the open device is called below /dev/mapper, by the custom of dracut and systemd.
  var name: String { Self.namePrefix + DeviceSpecification.text(ofUUID: uuid) }

  /// Asks for the passphrase on all consoles until it is right.
  ///
  /// - Throws: ``BootFailure`` when it never is, or cryptsetup cannot do it.
  func open() throws {
    guard System.isExecutable(Self.program) else {
      throw BootFailure(
        "\(path) is encrypted, and the initramfs has no cryptsetup", hints: ["distri-mkimage build --encrypt brings it"])
    }
    let consoles = Consoles()
    for _ in 0..<Self.attemptCount {
      let passphrase = try consoles.readSecret(prompt: "Passphrase for \(path): ")
      let status = try run(passphrase)
      if status == 0 { return }
      guard status == Self.wrongPassphrase else {
        throw BootFailure("cryptsetup cannot open \(path): status \(status)", hints: ["its last words are above"])
      }
      consoles.write("This is not the passphrase.\n")
    }
    throw BootFailure("\(path) stays locked: the passphrase was wrong \(Self.attemptCount) times")
  }

  private func run(_ passphrase: [UInt8]) throws -> Int32 {
    let pipe = try SecretPipe(holding: passphrase)
    // With its key in a keyring, the device could not grow with its partition unless somebody gave the passphrase again.
    let arguments = ["cryptsetup", "open", "--type", "luks2", "--disable-keyring", "--key-file", "/dev/fd/3", path, name]
    return try Process(path: Self.program, arguments: arguments, ready: pipe.reader).wait()
  }

  /// Closes what is open and not in use any more: its key shall not stay in a memory that may be read after a reboot.
  static func closeAll() {
    for name in System.names(in: "/dev/mapper") where name.hasPrefix(namePrefix) && System.isExecutable(program) {
      do {
        // The udev that it would wait for has ended before.
        let environment = Process.environment + ["DM_DISABLE_UDEV=1"]
        let status = try Process(path: program, arguments: ["cryptsetup", "close", name], environment: environment).wait()
        Console.say(status == 0 ? "\(name) is closed" : "cryptsetup cannot close \(name): status \(status)")
      } catch {
        Console.say("\(error)")
      }
    }
  }
}
