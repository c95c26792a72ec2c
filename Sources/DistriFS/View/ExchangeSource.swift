// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// A directory that packages share: what lies in `source` of each package appears, as links, in `name` of the view.
public struct ExchangeSource: Sendable, Hashable {
  /// The name at the top of the view, such as `lib`.
  public let name: EntryName
  /// Where the contents lie in a package, such as `out/lib`.
  public let source: TreePath

  /// Makes a source.
  public init(name: EntryName, source: TreePath) {
    self.name = name
    self.source = source
  }

  /// The exchange directories of a section of packages; they are recursive, so `share/man` or `lib/gio` are among them. `libexec`, `games` and
  /// `opt` are extensions.
  public static let packages: [ExchangeSource] =
    [make("bin", "bin"), make("debug", "debug")]
    .compactMap(\.self)
    + ["games", "gopath", "include", "lib", "lib64", "libexec", "opt", "share"].compactMap { make($0, "out/\($0)") }

  private static func make(_ name: String, _ source: String) -> ExchangeSource? {
    guard let name = try? EntryName(name), let source = try? TreePath(parsing: source) else { return nil }
    return ExchangeSource(name: name, source: source)
  }
}
