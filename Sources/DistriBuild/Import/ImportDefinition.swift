// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import SystemPackage

/// Which packages are made of which Debian packages: the content of an `*.import.textproto`.
///
/// Proto text, in the syntax of package definitions:
///
///     import: "strace"                 # further Debian packages, each under its own name
///     ignore_dependency: "dpkg"        # only maintainer scripts need it, and those are never run
///     package {
///       name: "glibc"
///       debian: "libc6"                # the first one gives the version
///       debian: "libc6-dev"            # a pattern such as linux-image-*-amd64 takes what the solver has chosen
///       ignore_dependency: "rpcsvc-proto"
///       link { path: "out/lib/x" target: "y" }
///       delete: "out/bin/*-config"
///       keep_interpreter: "out/bin/*"  # scripts whose first line stays as it is
///       optional_library: "libx.so.1"  # not an error when no package has it
///     }
public struct ImportDefinition: Sendable, Hashable {
  /// Further Debian packages.
  public var imports: [String] = []
  /// Names that no relation is followed to.
  public var ignoredDependencies: Set<String> = []
  /// The packages that have another name than Debian's, or more than one of Debian's.
  public var packages: [Package] = []

  /// One package and what it is made of.
  public struct Package: Sendable, Hashable {
    /// The package's name.
    public var name: String
    /// Names and patterns of Debian packages; the first one gives the version.
    public var debian: [String] = []
    /// Names that no relation of these packages is followed to.
    public var ignoredDependencies: Set<String> = []
    /// Links to add; an absolute target of `/usr` or `/lib` is found in the packages.
    public var links: [Link] = []
    /// Patterns of paths to leave out.
    public var deleted: [String] = []
    /// Patterns of scripts whose first line stays as it is.
    public var keptInterpreters: [String] = []
    /// Libraries that may be absent.
    public var optionalLibraries: Set<String> = []

    /// Makes a package of Debian packages.
    public init(name: String, debian: [String] = []) {
      self.name = name
      self.debian = debian
    }
  }

  /// A symbolic link.
  public struct Link: Sendable, Hashable {
    /// Where it is, from the package's root.
    public var path: String
    /// Where it leads.
    public var target: String

    /// Makes a link.
    public init(path: String, target: String) {
      self.path = path
      self.target = target
    }
  }

  /// Makes an empty definition: each Debian package becomes a package of its own name.
  public init() {}

  /// Reads a definition.
  ///
  /// - Throws: ``BuildError/system(operation:path:_:)``, and as ``init(bytes:path:)``.
  public init(path: FilePath) throws(BuildError) {
    try self.init(bytes: try path.contents(limit: TextParser.maximumByteCount + 1), path: path)
  }

  /// Parses a definition.
  ///
  /// - Throws: ``BuildError/invalidDefinition(_:line:column:reason:)``.
  public init(bytes: [UInt8], path: FilePath) throws(BuildError) {
    do throws(TextDefect) {
      var names: Set<String> = [], members: Set<String> = []
      for field in try TextParser.parse(bytes).fields {
        switch field.name {
        case "import": imports.append(try field.text)
        case "ignore_dependency": ignoredDependencies.insert(try field.text)
        case "package":
          let package = try Self.package(field)
          for name in [package.name] where !names.insert(name).inserted {
            throw TextDefect(offset: field.offset, reason: "the package «\(name.printable)» is defined twice")
          }
          for member in package.debian where !members.insert(member).inserted {
            throw TextDefect(offset: field.offset, reason: "the Debian package «\(member.printable)» is named twice")
          }
          packages.append(package)
        default: throw TextDefect(offset: field.offset, reason: "an import definition has no field «\(field.name.printable)»")
        }
      }
    } catch {
      let (line, column) = error.position(in: bytes)
      throw .invalidDefinition(path, line: line, column: column, reason: error.reason)
    }
  }

  private static func package(_ field: TextField) throws(TextDefect) -> Package {
    var package = Package(name: "")
    for part in try field.message.fields {
      switch part.name {
      case "name": package.name = try part.text
      case "debian": package.debian.append(try part.text)
      case "ignore_dependency": package.ignoredDependencies.insert(try part.text)
      case "delete": package.deleted.append(try part.text)
      case "keep_interpreter": package.keptInterpreters.append(try part.text)
      case "optional_library": package.optionalLibraries.insert(try part.text)
      case "link": package.links.append(try link(part))
      default: throw TextDefect(offset: part.offset, reason: "a package has no field «\(part.name.printable)»")
      }
    }
    guard !package.name.isEmpty, !package.debian.isEmpty else {
      throw TextDefect(offset: field.offset, reason: "a package needs a name and a Debian package")
    }
    return package
  }

  private static func link(_ field: TextField) throws(TextDefect) -> Link {
    var link = Link(path: "", target: "")
    for part in try field.message.fields {
      switch part.name {
      case "path": link.path = try part.text
      case "target": link.target = try part.text
      default: throw TextDefect(offset: part.offset, reason: "a link has no field «\(part.name.printable)»")
      }
    }
    guard !link.path.isEmpty, !link.target.isEmpty else {
      throw TextDefect(offset: field.offset, reason: "a link needs path and target")
    }
    return link
  }

  /// The package that a Debian package becomes part of.
  public func package(for debian: String) -> Package {
    packages.first { $0.debian.contains(debian) }
      ?? packages.first { $0.debian.contains { $0.contains("*") && Wildcard($0).matches(debian) } }
      ?? Package(name: debian, debian: [debian])
  }

  /// The Debian packages that a request is about: those of a package of that name, else the Debian package itself.
  public func debianPackages(for request: String) -> [String] {
    guard let package = packages.first(where: { $0.name == request }) else { return [request] }
    return package.debian.filter { !$0.contains("*") }
  }

  /// What is imported when nothing else is asked for.
  public var everything: [String] { packages.map(\.name) + imports }
}

extension TextField {
  fileprivate var text: String {
    get throws(TextDefect) {
      guard case .string(let bytes) = value, let text = String(validating: bytes, as: UTF8.self), !text.isEmpty else {
        throw TextDefect(offset: range.lowerBound, reason: "\(name) wants a string, not \(value.kind)")
      }
      return text
    }
  }

  fileprivate var message: TextMessage {
    get throws(TextDefect) {
      guard case .message(let message) = value else {
        throw TextDefect(offset: range.lowerBound, reason: "\(name) wants a message, not \(value.kind)")
      }
      return message
    }
  }
}
