// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// The root file system of an image: the store, the links into the view, and `/etc`.
struct RootContents {
  /// The packages and all that they need at run time, in ``PackageID``'s order.
  let packages: [PackageID]
  /// Shell commands that the machine runs instead of an init program.
  var commands: [String] = []
  var hostname = "distri"

  /// Names of the root that lead into the view.
  private static let links = [
    "bin": "/ro/bin", "sbin": "/ro/bin", "lib": "/ro/lib", "lib64": "/ro/lib64", "share": "/ro/share", "include": "/ro/include",
  ]

  /// Plans everything.
  ///
  /// - Throws: ``StoreError`` for packages that cannot be read; ``MkimageError/unusableFile(_:reason:)``.
  func plan(from store: LocalStore) throws -> Contents {
    var contents = Contents()
    try addSkeleton(to: &contents)
    try addStore(store.path, to: &contents)
    // Ours first: a package's default does not replace what makes the machine.
    try addConfiguration(to: &contents)
    for package in packages { try addDefaults(of: try store.image(of: package), to: &contents) }
    return contents
  }

  private func addSkeleton(to contents: inout Contents) throws {
    for (name, target) in Self.links {
      try contents.addLink(TreePath(parsing: name), to: target)
      try contents.addLink(TreePath(parsing: "usr/\(name)"), to: target)
    }
    for name in [
      "dev", "proc", "sys", "run", "ro", "mnt", "home", "opt", "srv", "boot", "usr/local", "var/log", "var/lib", "var/cache",
    ] {
      try contents.addDirectory(TreePath(parsing: name))
    }
    try contents.addDirectory(TreePath(parsing: "root"), permissions: 0o700)
    try contents.addDirectory(TreePath(parsing: "tmp"), permissions: 0o1777)
    try contents.addDirectory(TreePath(parsing: "var/tmp"), permissions: 0o1777)
    try contents.addLink(TreePath(parsing: "var/run"), to: "/run")
    try contents.addLink(TreePath(parsing: "var/lock"), to: "/run/lock")
  }

  private func addStore(_ store: FilePath, to contents: inout Contents) throws {
    for package in packages {
      for ending in ["squashfs", "meta.textproto"] {
        let name = "\(package).\(ending)"
        try contents.addFile(TreePath(parsing: "roimg/\(name)"), store.appending(name).asSource())
      }
    }
    for (query, versions) in Dictionary(grouping: packages, by: { "\($0.name)-\($0.architecture)" }) {
      guard let newest = versions.max(by: { $0.revision < $1.revision }) else { continue }
      try contents.addLink(TreePath(parsing: "roimg/\(query).meta.textproto"), to: "\(newest).meta.textproto")
    }
  }

  private func addConfiguration(to contents: inout Contents) throws {
    let files: [(String, UInt16, String)] = [
      ("os-release", 0o644, "NAME=\"distri\"\nID=distri\nPRETTY_NAME=\"distri\"\n"),
      ("hostname", 0o644, hostname + "\n"),
      ("hosts", 0o644, "127.0.0.1 localhost\n::1 localhost\n127.0.1.1 \(hostname)\n"),
      (
        "passwd", 0o644,
        "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"
      ),
      ("group", 0o644, "root:x:0:\ntty:x:5:\nshadow:x:42:\nnogroup:x:65534:\n"),
      // Nobody has a password: who may log in is for the image's description to say.
      ("shadow", 0o600, "root:*:::::::\nnobody:*:::::::\n"),
    ]
    for (name, permissions, text) in files {
      try contents.addFile(TreePath(parsing: "etc/\(name)"), text, permissions: permissions)
    }
    try contents.addLink(TreePath(parsing: "etc/mtab"), to: "../proc/self/mounts")
    if !commands.isEmpty {
      let lines = commands.map { $0 + "\n" }.joined()
      try contents.addFile(TreePath(parsing: "etc/distri/boot-commands"), lines)
    }
  }

  /// Copies `etc/` of a package. Where two packages have the same file, the first in the order of their names keeps it.
  private func addDefaults(of image: PackageImage, to contents: inout Contents) throws {
    let path = try TreePath(parsing: "etc")
    guard let directory = try image.node(at: path) else { return }
    try addEntries(of: directory, at: path, of: image, to: &contents)
  }

  private func addEntries(of directory: PackageImage.Node, at path: TreePath, of image: PackageImage, to contents: inout Contents)
    throws
  {
    guard path.components.count < 32 else { throw MkimageError.unusableFile("\(image.path)", reason: "etc/ is nested too deep") }
    for entry in try image.entries(of: directory) {
      let place = path.appending(entry.name)
      let attributes = try image.attributes(of: entry.node)
      let kind: Contents.Kind
      switch attributes.kind {
      case .directory: kind = .directory
      case .symbolicLink: kind = .symbolicLink(target: try image.symbolicLinkTarget(of: entry.node))
      case .regular: kind = .regular(.bytes(try image.contents(of: entry.node, limit: Self.largestDefault)))
      // Devices, pipes and sockets are no configuration.
      default: continue
      }
      let node = Contents.Node(
        kind: kind, permissions: attributes.permissions, userID: attributes.userID, groupID: attributes.groupID)
      let isNew = try contents.add(place, node)
      if kind == .directory, isNew || contents[place]?.kind == .directory {
        try addEntries(of: entry.node, at: place, of: image, to: &contents)
      }
    }
  }

  /// The largest file that is taken for configuration, in bytes.
  private static let largestDefault = 16 << 20
}
