// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriFS
import DistriStore
import SystemPackage

/// The root file system of an image: the store, the links into the view, and `/etc`.
struct RootContents {
  /// The packages and all that they need at run time, in ``PackageID``'s order.
  let packages: [PackageID]
  let description: ImageDescription
  /// Where the description's files are.
  let directory: FilePath
  /// Our own programs that the machine shall have.
  var tools: [FilePath] = []
  /// Those with which it follows the kernel that is selected on it, where the packages have what else that takes; empty where it shall not.
  var kernelTools: [FilePath] = []
  /// What ``Keymap`` has compiled; nil for a keyboard as the kernel takes it.
  var keymap: [UInt8]?
  /// What a view of the packages shows besides their own files. Where it is given, it lies in `/ro`, and there is no store to make one of.
  var view: [View.SharedEntry]?

  /// Names of the root that lead into the view.
  private static let links = [
    "bin": "/ro/bin", "sbin": "/ro/bin", "lib": "/ro/lib", "lib64": "/ro/lib64", "share": "/ro/share", "include": "/ro/include",
  ]

  /// Plans everything.
  ///
  /// - Throws: ``StoreError`` for packages that cannot be read; ``MkimageError/unusableFile(_:reason:)``.
  func plan(from store: LocalStore) throws -> Contents {
    var contents = Contents()
    let accounts = try Accounts(of: description)
    let images = try packages.map { try store.image(of: $0) }
    // What is there first stays: the description's own files, then what makes the machine, then the packages' defaults.
    try addDescribed(accounts, to: &contents)
    try addSkeleton(to: &contents)
    if let view {
      try addView(view, of: images, to: &contents)
    } else {
      try addStore(store.path, to: &contents)
    }
    try addTools(tools, to: &contents)
    if !kernelTools.isEmpty, try KernelUpdates.arePossible(with: images) {
      try addTools(kernelTools, to: &contents)
      try KernelUpdates.addUnits(to: &contents)
    }
    try addConfiguration(accounts, to: &contents)
    try accounts.addHomes(to: &contents)
    if try images.contains(where: { try $0.node(at: TreePath(parsing: "out/lib/systemd/systemd")) != nil }) {
      // The view stays to the end, when distri-init takes it down: systemd need not try before.
      try contents.addFile(
        TreePath(parsing: "etc/systemd/system/ro.mount.d/10-stays.conf"), "[Unit]\nDefaultDependencies=no\n")
    }
    for image in images { try addDefaults(of: image, to: &contents) }
    try addUnits(from: images, to: &contents)
    return contents
  }

  /// The directories, links and files of the description.
  private func addDescribed(_ accounts: Accounts, to contents: inout Contents) throws {
    func add(_ path: String, _ kind: Contents.Kind, mode: UInt16, _ owner: ImageDescription.Owner = .init()) throws {
      let (uid, gid) = try accounts.numbers(of: owner)
      let node = Contents.Node(kind: kind, permissions: mode, userID: uid, groupID: gid)
      guard try contents.add(TreePath(parsing: path), node) else {
        throw MkimageError.unusableFile(path, reason: "the description has it twice")
      }
    }
    // By path: a directory is there before a file in it makes one with other permissions.
    for item in description.directories.sorted(by: { $0.path < $1.path }) {
      try add(item.path, .directory, mode: item.mode, item.owner)
    }
    for item in description.links { try add(item.path, .symbolicLink(target: Array(item.target.utf8)), mode: 0o777) }
    for item in description.files {
      let bytes =
        try item.source.map { try directory.pushing(FilePath($0)).contents(atMost: Self.largestDefault) }
        ?? Array((item.contents ?? "").utf8)
      try add(item.path, .regular(.bytes(bytes)), mode: item.mode, item.owner)
    }
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

  private func addView(_ view: [View.SharedEntry], of images: [PackageImage], to contents: inout Contents) throws {
    let place = try TreePath(parsing: "ro")
    let byName = Dictionary(zip(packages.map(\.description), images), uniquingKeysWith: { first, _ in first })
    for entry in view {
      // A plug-in's link is in a package, whose directories stay as they are.
      if let image = byName[entry.path.components.first.map { "\($0)" } ?? ""] {
        for count in 1..<entry.path.components.count {
          let directory = TreePath(components: Array(entry.path.components[..<count]))
          guard let node = try image.node(at: TreePath(components: Array(directory.components.dropFirst()))) else { break }
          let attributes = try image.attributes(of: node)
          try contents.add(
            TreePath(components: place.components + directory.components),
            .init(
              kind: .directory, permissions: attributes.permissions, userID: attributes.userID, groupID: attributes.groupID))
        }
      }
      let path = TreePath(components: place.components + entry.path.components)
      if let target = entry.target {
        try contents.add(path, .init(kind: .symbolicLink(target: target), permissions: 0o777))
      } else {
        try contents.addDirectory(path)
      }
    }
  }

  /// Puts our programs where the machine's administrator would put those of no package.
  private func addTools(_ tools: [FilePath], to contents: inout Contents) throws {
    for tool in tools {
      guard let name = tool.lastComponent?.string else { continue }
      try contents.addFile(TreePath(parsing: "usr/local/bin/\(name)"), tool.asSource(), permissions: 0o755)
    }
  }

  private func addConfiguration(_ accounts: Accounts, to contents: inout Contents) throws {
    let files: [(String, UInt16, String)] = [
      ("os-release", 0o644, "NAME=\"distri\"\nID=distri\nPRETTY_NAME=\"distri\"\n"),
      ("hostname", 0o644, description.hostname + "\n"),
      ("hosts", 0o644, "127.0.0.1 localhost\n::1 localhost\n127.0.1.1 \(description.hostname)\n"),
      ("passwd", 0o644, accounts.passwd), ("group", 0o644, accounts.group),
    ]
    for (name, permissions, text) in files {
      try contents.addFile(TreePath(parsing: "etc/\(name)"), text, permissions: permissions)
    }
    // unix_chkpwd belongs to the group, and reads it for those who may not.
    try contents.addFile(
      TreePath(parsing: "etc/shadow"), accounts.shadow, permissions: 0o640, groupID: Accounts.shadowGroup)
    try contents.addLink(TreePath(parsing: "etc/mtab"), to: "../proc/self/mounts")
    if let keymap, let name = description.keymap {
      try contents.addFile(TreePath(parsing: Keymap.path), .bytes(keymap))
      try contents.addFile(TreePath(parsing: "etc/vconsole.conf"), "KEYMAP=\(name)\n")
    }
    if !description.bootCommands.isEmpty {
      let lines = description.bootCommands.map { $0 + "\n" }.joined()
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
