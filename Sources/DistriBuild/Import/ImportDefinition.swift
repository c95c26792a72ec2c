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
///       file { path: "etc/x" contents: "y\n" }  # a file that a maintainer script would have written
///       join { path: "etc/all.pem" of: "out/share/*.pem" }
///       attributes { path: "out/lib/helper" mode: 4754 group: 101 }
///     }
///     use: "other.import.textproto"    # its packages, too, for what these need
///     include: "base.import.textproto" # the same, and all that it imports
public struct ImportDefinition: Sendable, Hashable {
  /// Further Debian packages.
  public var imports: [String] = []
  /// Names that no relation is followed to.
  public var ignoredDependencies: Set<String> = []
  /// The packages that have another name than Debian's, or more than one of Debian's.
  public var packages: [Package] = []
  /// Packages of the definitions that this one uses: made as they say, and imported only when something needs them.
  public var usedPackages: [Package] = []

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
    /// Files to add; where there is one of that path, it is replaced.
    public var files: [File] = []
    /// Files to make of others.
    public var joins: [Join] = []
    /// Owners and permissions that the archive does not tell.
    public var attributes: [Attributes] = []

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

  /// A file with its text.
  public struct File: Sendable, Hashable {
    /// Where it is, from the package's root.
    public var path: String
    /// All that is in it.
    public var contents: String

    /// Makes a file.
    public init(path: String, contents: String) {
      self.path = path
      self.contents = contents
    }
  }

  /// A file that holds the contents of others, one behind the other in the order of their paths.
  public struct Join: Sendable, Hashable {
    /// Where it is, from the package's root.
    public var path: String
    /// A pattern of the paths of the others.
    public var pattern: String

    /// Makes a join.
    public init(path: String, of pattern: String) {
      self.path = path
      self.pattern = pattern
    }
  }

  /// What Debian keeps in a table of the machine (`dpkg-statoverride`), because the group gets its number there.
  public struct Attributes: Sendable, Hashable {
    /// Which file, from the package's root; it must be there.
    public var path: String
    /// The low twelve bits of the mode.
    public var permissions: UInt16
    /// The number of the owner.
    public var userID: UInt32
    /// The number of the group: one that every machine gives it.
    public var groupID: UInt32

    /// Makes attributes.
    public init(path: String, permissions: UInt16, userID: UInt32 = 0, groupID: UInt32 = 0) {
      self.path = path
      self.permissions = permissions
      self.userID = userID
      self.groupID = groupID
    }
  }

  /// Makes an empty definition: each Debian package becomes a package of its own name.
  public init() {}

  /// Reads a definition, and those that it uses.
  ///
  /// - Throws: ``BuildError/system(operation:path:_:)``, and as ``init(bytes:path:)``.
  public init(path: FilePath) throws(BuildError) { try self.init(path: path, depth: 0) }

  /// Parses a definition. The files that it uses or includes are found from the directory of `path`, as theirs are from their own.
  ///
  /// - Throws: ``BuildError/invalidDefinition(_:line:column:reason:)``; as ``init(path:)`` for a file that it uses.
  public init(bytes: [UInt8], path: FilePath) throws(BuildError) { try self.init(bytes: bytes, path: path, depth: 0) }

  private init(path: FilePath, depth: Int) throws(BuildError) {
    try self.init(bytes: try path.contents(limit: TextParser.maximumByteCount + 1), path: path, depth: depth)
  }

  private init(bytes: [UInt8], path: FilePath, depth: Int) throws(BuildError) {
    for reference in try parse(bytes, path: path) {
      let place = path.removingLastComponent().pushing(FilePath(reference.path))
      guard depth < Self.deepest else {
        throw .invalidDefinition(path, line: 1, column: 1, reason: "it uses itself, or definitions are nested too deep")
      }
      let other = try Self(path: place, depth: depth + 1)
      // One of the same name takes the place of the other.
      for package in other.packages + other.usedPackages
      where !(packages + usedPackages).contains(where: { $0.name == package.name }) {
        let debian = Set(package.debian)
        if let rival = (packages + usedPackages).first(where: { !debian.isDisjoint(with: $0.debian) }) {
          throw .invalidDefinition(
            place, line: 1, column: 1, reason: "«\(package.name)» is made of what «\(rival.name)» of \(path) is made of")
        }
        usedPackages.append(package)
      }
      ignoredDependencies.formUnion(other.ignoredDependencies)
      if reference.isIncluded { imports += other.everything.filter { !everything.contains($0) } }
    }
  }

  /// How many definitions may lead to one.
  private static let deepest = 8

  /// Another definition that one names.
  private struct Reference {
    var path: String
    /// Whether its packages are imported, too, and not only made as it says where something needs them.
    var isIncluded: Bool
  }

  /// - Returns: the definitions that it uses.
  private mutating func parse(_ bytes: [UInt8], path: FilePath) throws(BuildError) -> [Reference] {
    var used: [Reference] = []
    do throws(TextDefect) {
      var names: Set<String> = [], members: Set<String> = []
      for field in try TextParser.parse(bytes).fields {
        switch field.name {
        case "use", "include": used.append(Reference(path: try field.text, isIncluded: field.name == "include"))
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
    return used
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
      case "link":
        let (path, target) = try pair(part, "target")
        package.links.append(Link(path: path, target: target))
      case "file":
        let (path, contents) = try pair(part, "contents")
        package.files.append(File(path: path, contents: contents))
      case "join":
        let (path, pattern) = try pair(part, "of")
        package.joins.append(Join(path: path, of: pattern))
      case "attributes": package.attributes.append(try attributes(part))
      default: throw TextDefect(offset: part.offset, reason: "a package has no field «\(part.name.printable)»")
      }
    }
    guard !package.name.isEmpty, !package.debian.isEmpty else {
      throw TextDefect(offset: field.offset, reason: "a package needs a name and a Debian package")
    }
    return package
  }

  /// A message of a path and one more text.
  private static func pair(_ field: TextField, _ name: String) throws(TextDefect) -> (path: String, other: String) {
    var path: String?, other: String?
    for part in try field.message.fields {
      switch part.name {
      case "path": path = try part.text
      case name: other = try part.text
      default: throw TextDefect(offset: part.offset, reason: "a \(field.name) has no field «\(part.name.printable)»")
      }
    }
    guard let path, let other else { throw TextDefect(offset: field.offset, reason: "a \(field.name) needs path and \(name)") }
    return (path, other)
  }

  private static func attributes(_ field: TextField) throws(TextDefect) -> Attributes {
    var attributes = Attributes(path: "", permissions: 0)
    for part in try field.message.fields {
      switch part.name {
      case "path": attributes.path = try part.text
      case "mode":
        guard case .scalar(let text) = part.value, let mode = UInt16(text, radix: 8), (1...0o7777).contains(mode) else {
          throw TextDefect(offset: part.range.lowerBound, reason: "mode wants an octal number such as 4755")
        }
        attributes.permissions = mode
      case "user": attributes.userID = try part.number
      case "group": attributes.groupID = try part.number
      default: throw TextDefect(offset: part.offset, reason: "attributes have no field «\(part.name.printable)»")
      }
    }
    guard !attributes.path.isEmpty, attributes.permissions != 0 else {
      throw TextDefect(offset: field.offset, reason: "attributes need path and mode")
    }
    return attributes
  }

  /// The package that a Debian package becomes part of.
  public func package(for debian: String) -> Package {
    let packages = packages + usedPackages
    return packages.first { $0.debian.contains(debian) }
      ?? packages.first { $0.debian.contains { $0.contains("*") && Wildcard($0).matches(debian) } }
      ?? Package(name: debian, debian: [debian])
  }

  /// The Debian packages that a request is about: those of a package of that name, else the Debian package itself.
  public func debianPackages(for request: String) -> [String] {
    guard let package = (packages + usedPackages).first(where: { $0.name == request }) else { return [request] }
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

  fileprivate var number: UInt32 {
    get throws(TextDefect) {
      guard case .scalar(let text) = value, let number = UInt32(text) else {
        throw TextDefect(offset: range.lowerBound, reason: "\(name) wants a number below 2^32")
      }
      return number
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
