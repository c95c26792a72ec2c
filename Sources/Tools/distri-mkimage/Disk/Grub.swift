// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// GRUB for machines with a BIOS, and what it offers there.
enum Grub {
  /// A kernel that is offered.
  struct Entry: Equatable {
    var title = "distri"
    /// Paths in the boot partition.
    var kernel = "/vmlinuz"
    var initramfs = "/initramfs"
    var commandLine: String
  }

  /// The configuration file: the first entry is started. With several, Escape within two seconds shows them.
  static func configuration(_ entries: [Entry]) -> String {
    let start = entries.count > 1 ? "set timeout_style=hidden\nset timeout=2" : "set timeout=0"
    let menu = entries.map { entry in
      """
      menuentry "\(entry.title)" {
        linux \(entry.kernel) \(entry.commandLine)
        initrd \(entry.initramfs)
      }
      """
    }
    return """
      \(start)
      serial --unit=0 --speed=115200
      terminal_input console serial
      terminal_output console serial
      \(menu.joined(separator: "\n"))

      """
  }

  /// The entries of a configuration that ``configuration(_:)`` has written; lines of others are skipped.
  static func entries(in configuration: String) -> [Entry] {
    var entries: [Entry] = []
    var entry = Entry(commandLine: "")
    for line in configuration.split(separator: "\n") {
      let words = line.split(separator: " ", maxSplits: 2).map(String.init)
      switch words.first {
      case "menuentry": entry = Entry(title: String(line.split(separator: "\"").dropFirst().first ?? "distri"), commandLine: "")
      case "linux" where words.count > 1: (entry.kernel, entry.commandLine) = (words[1], words.count > 2 ? words[2] : "")
      case "initrd" where words.count > 1: entry.initramfs = words[1]
      case "}": entries.append(entry)
      default: break
      }
    }
    return entries
  }
}
