// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriBuild
import DistriStore
import SystemPackage

/// Flags for what is often changed in an image description.
struct DescriptionOptions: ParsableArguments {
  @Option(
    name: [.customLong("package"), .customLong("add")],
    help: ArgumentHelp("A package of the image; what it needs comes along.", valueName: "name"))
  var packages: [String] = []

  @Option(
    help: ArgumentHelp("The package that has the kernel, or needs the one that has it. Default: linux-image.", valueName: "name"))
  var kernel: String?

  @Option(
    name: .customLong("kernel-parameter"), help: ArgumentHelp("A parameter for the kernel.", valueName: "text"))
  var kernelParameters: [String] = []

  @Option(
    name: .customLong("run"),
    help: ArgumentHelp(
      "A shell command that the machine runs, then it turns itself off; instead of /sbin/init.", valueName: "command"))
  var commands: [String] = []

  @Option(help: ArgumentHelp("The machine's name. Default: distri.", valueName: "name"))
  var hostname: String?

  @Option(
    name: .customLong("authorized-keys"),
    help: ArgumentHelp("Whoever has one of the SSH keys in this file may log in as root.", valueName: "file"))
  var authorizedKeys: [String] = []

  @Option(help: ArgumentHelp("What the keys of the console mean: a keymap of the packages, such as de-latin1.", valueName: "name"))
  var keymap: String?

  @Flag(help: "A login on the serial console, where the image has systemd.")
  var serial = false

  @Option(help: ArgumentHelp("The name of the root file system, 1 to 16 bytes. Default: distri.", valueName: "text"))
  var label: String?

  @Option(help: ArgumentHelp("The size of the disk, such as 512M or 8G. Default: what is needed and 64 MiB.", valueName: "size"))
  var size: ByteCount?

  @Option(
    help: ArgumentHelp(
      "direct: a file system, and kernel and initramfs beside it. gpt: a disk that boots by itself. Default: direct.",
      valueName: "name"))
  var layout: ImageDescription.Layout?

  @Flag(help: "What a disk boots on. Implies --layout gpt.")
  var firmware: Firmware?

  @Option(
    name: .customLong("format"),
    help: ArgumentHelp(
      "What a disk is written as, or which kind of container is made, see list-formats; with several, a directory of files. Implies --layout gpt. Default: raw.",
      valueName: "name"))
  var formats: [ImageFormat] = []

  @Flag(help: "For Azure: --format vhd-azure --serial, and its drivers. Wants a key of somebody.")
  var azure = false

  @Flag(help: "Encrypt the root partition with LUKS2; the machine asks for the passphrase on its console. Implies --layout gpt.")
  var encrypt = false

  @Option(
    name: .customLong("module"),
    help: ArgumentHelp("A kernel module to load whatever hardware there is.", valueName: "name"))
  var modules: [String] = []

  func validate() throws {
    func check(_ flag: String, _ text: String, _ rule: (String) throws(InvalidText) -> Void) throws {
      do throws(InvalidText) { try rule(text) } catch { throw ValidationError("\(flag) «\(text)» \(error.reason)") }
    }
    if let label { try check("--label", label, TextRule.label) }
    if let hostname { try check("--hostname", hostname, TextRule.hostname) }
    if let keymap { try check("--keymap", keymap, TextRule.keymap) }
    guard layout != .direct || firmware == nil && formats.isEmpty && !azure && !encrypt else {
      throw ValidationError("--uefi, --bios, --both, --format, --encrypt and --azure need --layout gpt")
    }
    for command in commands { try check("--run", command, TextRule.line) }
    for parameter in kernelParameters { try check("--kernel-parameter", parameter, TextRule.line) }
  }

  /// The description with these changes.
  ///
  /// - Throws: ``MkimageError/unusableFile(_:reason:)`` for a file of keys.
  func applied(to description: ImageDescription) throws -> ImageDescription {
    var image = description
    image.packages += packages
    image.kernel = kernel ?? image.kernel
    image.kernelParameters += kernelParameters
    image.bootCommands += commands
    image.hostname = hostname ?? image.hostname
    image.keymap = keymap ?? image.keymap
    image.hasSerialConsole = image.hasSerialConsole || serial
    image.label = label ?? image.label
    image.byteCount = size?.value ?? image.byteCount
    image.modules += modules
    image.layout = layout ?? (firmware == nil && formats.isEmpty && !azure && !encrypt ? image.layout : .gpt)
    image.isEncrypted = image.isEncrypted || encrypt
    image.firmware = firmware ?? image.firmware
    image.formats = formats.isEmpty ? image.formats : formats
    let keys = try authorizedKeys.flatMap { try Self.keys(in: FilePath($0)) }
    if !keys.isEmpty {
      if let root = image.users.firstIndex(where: { $0.name == "root" }) {
        image.users[root].authorizedKeys += keys
      } else {
        image.users.append(.init(name: "root", authorizedKeys: keys))
      }
    }
    if azure { try Self.prepareForAzure(&image) }
    return image
  }

  /// What Azure wants of an image: a disk of fixed size, words on the serial port, its drivers, and that nobody can log in with a password
  /// of ours.
  private static func prepareForAzure(_ image: inout ImageDescription) throws {
    guard image.users.contains(where: { !$0.authorizedKeys.isEmpty }) else {
      throw ValidationError("--azure: nobody could log in; give --authorized-keys, or a user with an authorized_key")
    }
    if !image.formats.contains(.vhdAzure) { image.formats.append(.vhdAzure) }
    image.hasSerialConsole = true
    image.modules += ["hv_vmbus", "hv_storvsc", "hv_netvsc"]
  }

  /// The lines of an `authorized_keys` or `.pub` file that are no comments.
  private static func keys(in file: FilePath) throws -> [String] {
    let text = String(decoding: try file.contents(atMost: 1 << 20), as: UTF8.self)
    let lines = text.split(whereSeparator: \.isNewline).map(String.init).filter {
      !$0.hasPrefix("#") && !$0.allSatisfy(\.isWhitespace)
    }
    guard !lines.isEmpty else { throw MkimageError.unusableFile(file.string, reason: "it has no key") }
    guard !text.contains("PRIVATE KEY") else {
      throw MkimageError.unusableFile(file.string, reason: "it is a private key; the public one is in the file that ends in .pub")
    }
    return lines
  }
}

extension ImageDescription.Layout: ExpressibleByArgument {}
extension ImageFormat: ExpressibleByArgument {}

extension Firmware: EnumerableFlag {
  static func help(for value: Firmware) -> ArgumentHelp? {
    switch value {
    case .uefi: "The disk boots on UEFI only."
    case .bios: "The disk boots on a BIOS only."
    case .both: "The disk boots on both, the default."
    }
  }
}

extension ImageDescription {
  /// The packages and those of the sets, which lie in `directory`.
  ///
  /// - Throws: ``MkimageError/unusableFile(_:reason:)``; `StoreError.invalidName`.
  func packageNames(in directory: FilePath) throws -> [String] {
    try packages
      + sets.flatMap { name in
        let file = directory.appending("\(try Generation.setName(name)).pkgset")
        let text = String(decoding: try file.contents(atMost: 1 << 20), as: UTF8.self)
        return try Generation.PackageSet(named: name, parsing: text).members.map(\.description)
      }
  }
}
