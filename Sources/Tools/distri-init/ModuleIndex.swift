// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Glibc

/// The kernel modules that the initramfs brings along, and the hardware that each is for: ``path``, a record a line.
///
///     module NAME [DEPENDENCY…]    the file /modules/NAME.ko, to be loaded after these
///     load NAME                    on every machine
///     alias PATTERN NAME           on a machine that has something of such a modalias
struct ModuleIndex: Equatable {
  /// Where the index lies in the initramfs.
  static let path = "/etc/distri/modules"

  struct Alias: Equatable {
    /// As fnmatch(3) has it.
    let pattern: String
    let module: String
  }

  /// Of each module, what is loaded before it.
  private(set) var dependencies: [String: [String]] = [:]
  /// What every machine loads, in this order.
  private(set) var always: [String] = []
  /// By the kind of bus, which is what a modalias begins with.
  private var aliases: [Substring: [Alias]] = [:]

  /// An index of nothing.
  init() {}

  /// Blank lines and those that start with `#` are ignored.
  ///
  /// - Throws: when a line is no record, or names a module that no line before has.
  init(parsing text: String) throws(BootFailure) {
    for line in text.split(separator: "\n") where !line.hasPrefix("#") {
      let words = line.split(separator: " ").map(String.init)
      switch (words.first, words.count) {
      case ("module", 2...) where Self.isName(words[1]) && words[2...].allSatisfy({ dependencies[$0] != nil }):
        dependencies[words[1]] = Array(words[2...])
      case ("load", 2) where dependencies[words[1]] != nil: always.append(words[1])
      case ("alias", 3) where dependencies[words[2]] != nil:
        aliases[Self.bus(of: words[1]), default: []].append(Alias(pattern: words[1], module: words[2]))
      default: throw BootFailure("\(Self.path): «\(line)» is no record; the initramfs is damaged")
      }
    }
  }

  /// The modules for hardware with this modalias.
  func modules(for modalias: String) -> [String] {
    (aliases[Self.bus(of: modalias)] ?? []).filter { fnmatch($0.pattern, modalias, 0) == 0 }.map(\.module)
  }

  private static func bus(of modalias: String) -> Substring { modalias.prefix { $0 != ":" && $0 != "*" } }

  /// A file name, and no other place.
  private static func isName(_ text: String) -> Bool { !text.contains("/") && !text.contains("\0") }
}
