// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// The kernel modules that the initramfs brings along: a path a line, in the order in which they have to be loaded.
struct ModuleList: Equatable {
  /// Where the list lies in the initramfs.
  static let path = "/etc/distri/modules"

  /// Absolute paths.
  let paths: [String]

  /// Blank lines and those that start with `#` are ignored.
  ///
  /// - Throws: when a line is no absolute path of a module.
  init(parsing text: String) throws(BootFailure) {
    var paths: [String] = []
    for line in text.split(separator: "\n") where !line.hasPrefix("#") {
      guard line.hasPrefix("/"), line.hasSuffix(".ko") else {
        throw BootFailure("\(Self.path): «\(line)» is no module; the initramfs is damaged")
      }
      paths.append(String(line))
    }
    self.paths = paths
  }

  /// Loads all of them and frees their memory. One that does not fit the machine is reported and skipped: the root may not need it.
  func load() {
    for path in paths {
      do {
        try System.loadModule(path)
      } catch {
        Console.say("\(error)")
      }
      System.remove(path)
    }
  }
}
