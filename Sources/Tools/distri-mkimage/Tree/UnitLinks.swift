// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// What enabling a unit of systemd means: links in `/etc/systemd/system`, made from the unit's `[Install]` section.
///
/// They lead to `/lib/systemd/system/<unit>`, whatever version the view has there. `systemctl enable` would resolve that, and pin the
/// version of today.
struct UnitLinks: Equatable {
  struct Link: Equatable {
    /// Below `/etc/systemd/system`.
    let path: String
    let target: String
  }

  private(set) var links: [Link] = []
  /// Units that are to be enabled with this one.
  let also: [String]

  /// Reads a unit file.
  ///
  /// - Parameters:
  ///   - unit: the name to enable, such as `getty@tty1.service`.
  ///   - text: the file's contents.
  ///   - file: where the machine has it.
  /// - Throws: ``MkimageError/unusableUnit(_:reason:)`` when the file says nothing of who wants the unit.
  init(of unit: String, text: String, file: String) throws(MkimageError) {
    var values: [String: [String]] = [:]
    var isInstall = false
    for line in Self.logicalLines(of: text) {
      if line.hasPrefix("[") {
        isInstall = line == "[Install]"
      } else if isInstall, let equals = line.firstIndex(of: "=") {
        let words = line[line.index(after: equals)...].split(whereSeparator: \.isWhitespace).map(String.init)
        let key = String(line[..<equals]).trimmingBlanks
        // An empty value takes back what was there before.
        values[key] = words.isEmpty ? [] : (values[key] ?? []) + words
      }
    }
    var name = unit
    if let at = unit.firstIndex(of: "@"), unit[unit.index(after: at)...].hasPrefix(".") {
      guard let instance = values["DefaultInstance"]?.first else {
        throw .unusableUnit(unit, reason: "it is a template without DefaultInstance=; name an instance, such as \(unit[...at])x…")
      }
      name = unit.replacing("@.", with: "@\(instance).")
    }
    for (key, ending) in [("WantedBy", "wants"), ("RequiredBy", "requires"), ("UpheldBy", "upholds")] {
      for user in values[key] ?? [] { links.append(Link(path: "\(user).\(ending)/\(name)", target: file)) }
    }
    for alias in values["Alias"] ?? [] where alias != name { links.append(Link(path: alias, target: file)) }
    let also = values["Also"] ?? []
    guard !links.isEmpty || !also.isEmpty else {
      throw .unusableUnit(unit, reason: "its [Install] section names nobody who wants it; it is started by others, or never")
    }
    guard
      (links.map(\.path) + also).allSatisfy({ !$0.hasPrefix("/") && !$0.split(separator: "/").contains("..") && !$0.contains("%") })
    else { throw .unusableUnit(unit, reason: "its [Install] section has names with specifiers, or of places elsewhere") }
    self.also = also
  }

  /// Lines with what follows a `\` at the end joined, without comments and blanks around them.
  private static func logicalLines(of text: String) -> [String] {
    var lines: [String] = []
    var pending = ""
    for line in text.split(whereSeparator: \.isNewline) {
      let trimmed = String(line).trimmingBlanks
      if trimmed.hasPrefix("#") || trimmed.hasPrefix(";") { continue }
      if trimmed.hasSuffix("\\") {
        pending += trimmed.dropLast() + " "
        continue
      }
      lines.append((pending + trimmed).trimmingBlanks)
      pending = ""
    }
    return lines + (pending.isEmpty ? [] : [pending.trimmingBlanks])
  }
}

extension String {
  fileprivate var trimmingBlanks: String {
    var text = self[...]
    while text.first?.isWhitespace == true { text.removeFirst() }
    while text.last?.isWhitespace == true { text.removeLast() }
    return String(text)
  }
}

extension RootContents {
  /// The largest unit file that is read, in bytes.
  private static let largestUnit = 1 << 20

  /// Links for the units of the description, and for those that these ask for.
  ///
  /// - Throws: ``MkimageError/unusableUnit(_:reason:)`` for a unit that no package and no file of the description has.
  func addUnits(from images: [PackageImage], to contents: inout Contents) throws {
    let system = try TreePath(parsing: "etc/systemd/system")
    var units = description.units + (description.hasSerialConsole ? Self.serialUnits(in: images) : [])
    var seen: Set<String> = []
    while let unit = units.popLast() {
      guard seen.insert(unit).inserted else { continue }
      guard let (text, file) = try findUnit(unit, in: images, contents) else {
        throw MkimageError.unusableUnit(unit, reason: "no package of the image has it, nor does the description")
      }
      let links = try UnitLinks(of: unit, text: text, file: file)
      for link in links.links {
        try contents.addLink(TreePath(components: system.components + TreePath(parsing: link.path).components), to: link.target)
      }
      units += links.also
    }
  }

  /// A login on the serial port, where there is a systemd that could start it.
  private static func serialUnits(in images: [PackageImage]) -> [String] {
    let hasTemplate = images.contains {
      (try? $0.node(at: TreePath(parsing: "out/lib/systemd/system/serial-getty@.service"))) != nil
    }
    return hasTemplate ? ["serial-getty@ttyS0.service"] : []
  }

  /// The file of a unit, or that of its template: of the description's own, else of a package.
  private func findUnit(_ unit: String, in images: [PackageImage], _ contents: Contents) throws -> (text: String, file: String)? {
    var names = [unit]
    if let at = unit.firstIndex(of: "@"), let dot = unit.lastIndex(of: "."), at < dot {
      names.append(String(unit[...at] + unit[dot...]))
    }
    for name in names {
      if case .regular(.bytes(let bytes)) = contents[try TreePath(parsing: "etc/systemd/system/\(name)")]?.kind {
        return (String(decoding: bytes, as: UTF8.self), "/etc/systemd/system/\(name)")
      }
      let path = try TreePath(parsing: "out/lib/systemd/system/\(name)")
      for image in images {
        guard let node = try image.resolvedNode(at: path) else { continue }
        let text = String(decoding: try image.contents(of: node, limit: Self.largestUnit), as: UTF8.self)
        return (text, "/lib/systemd/system/\(name)")
      }
    }
    return nil
  }
}

extension PackageImage {
  /// The node at a path; of a link inside its directory, such as an alias of a unit, what it leads to.
  fileprivate func resolvedNode(at path: TreePath) throws -> Node? {
    var path = path
    for _ in 0..<8 {
      guard let node = try node(at: path) else { return nil }
      switch try attributes(of: node).kind {
      case .regular: return node
      case .symbolicLink:
        guard let name = try? EntryName(try symbolicLinkTarget(of: node)) else { return nil }
        path = path.parent.appending(name)
      default: return nil
      }
    }
    return nil
  }
}
