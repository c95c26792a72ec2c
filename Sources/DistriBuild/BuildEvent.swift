// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// What a builder has done, for whoever watches. ``description`` is the line of a log.
public enum BuildEvent: Sendable, Hashable {
  /// The build starts, with so many packages in view.
  case started(PackageID, dependencies: [PackageID], log: FilePath)
  /// Nothing is built: what comes of it is known elsewhere, and taken.
  case known
  /// A part of the work begins.
  case began(String)
  /// A part of the work is done.
  case finished(String, Duration)
  /// The steps are done; the most memory that one of their processes had at a time, in bytes.
  case usedMemory(UInt64)
  /// The steps left something outside of the package, which is not packed.
  case ignored([String])
  /// The steps left files in a state that no package has, which was changed; a sentence a path.
  case cleaned([String])
  /// Something about a package that is no error and yet worth a look.
  case remark(PackageID, String)
  /// What the package needs to run, found and named in the definition.
  case runtimeDependencies(PackageID, [PackageID])
}

extension BuildEvent: CustomStringConvertible {
  /// One line, or one per package.
  public var description: String {
    switch self {
    case .started(let package, let dependencies, let log):
      "building \(package) with \(dependencies.count) packages in view, log in \(log)"
    case .known: "the result is known and taken; nothing is built"
    case .began(let what): what
    case .finished(let what, let duration):
      "\(Self.firstLine(what)) done in \(Self.seconds(duration))"
    case .usedMemory(let count): "the largest process of the steps had \((count + (1 << 20) - 1) >> 20) MiB"
    case .ignored(let paths):
      "installed outside of the package and left out: \(paths.joined(separator: ", "))"
    case .cleaned(let changes):
      (["changed in what the steps installed:"] + changes.map { "  \($0)" }).joined(separator: "\n")
    case .remark(let package, let text):
      "\(package): \(text)"
    case .runtimeDependencies(let package, let dependencies):
      (["run-time dependencies of \(package):"] + dependencies.map { "  \($0)" }).joined(separator: "\n")
    }
  }

  /// A step may be a whole script.
  private static func firstLine(_ text: String) -> String {
    guard let end = text.firstIndex(where: \.isNewline) else { return text }
    return "\(text[..<end]) …"
  }

  /// Such as `12.3s` and `2m05s`.
  private static func seconds(_ duration: Duration) -> String {
    let (seconds, attoseconds) = duration.components
    if seconds < 60 {
      let hundredths = attoseconds / 10_000_000_000_000_000
      return "\(seconds).\(hundredths < 10 ? "0" : "")\(hundredths)s"
    }
    return "\(seconds / 60)m\(seconds % 60 < 10 ? "0" : "")\(seconds % 60)s"
  }
}
