// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import SystemPackage

/// Which packages of a store processes and the kernel use at this moment, as `/proc` and `/sys` say.
///
/// A path counts when one of its components is a package's full name or image: it does not matter where a view is mounted, nor in which
/// mount namespace. Programs, mapped files, open files, working and root directories, mounts, and images of loop devices are looked at. A server of a view
/// has the images of all that it shows open: that is no use by itself.
public struct PackageUsers: Sendable {
  /// Those in use.
  public private(set) var packages: Set<PackageID> = []
  /// Processes at which we may not look.
  public private(set) var unknownProcessCount = 0

  private static let maximumMapsByteCount = 64 << 20
  private static let maximumMountsByteCount = 16 << 20
  private static let maximumFileCount = 1 << 20

  private let byName: [Substring: PackageID]
  private let byImage: [Substring: PackageID]

  /// Looks.
  ///
  /// - Parameters:
  ///   - packages: those that count.
  ///   - proc: where procfs is.
  ///   - sys: where sysfs is.
  public init(of packages: some Sequence<PackageID>, proc: FilePath = "/proc", sys: FilePath = "/sys") {
    var (byName, byImage) = ([Substring: PackageID](), [Substring: PackageID]())
    for package in packages {
      byName[Substring(package.description)] = package
      byImage[Substring(package.imageFileName)] = package
    }
    self.byName = byName
    self.byImage = byImage
    let names = (try? DirectoryHandle(opening: proc).names()) ?? []
    for name in names where name.bytes.allSatisfy({ (48...57).contains($0) }) {
      if !lookAtProcess(proc.appending(name.description)) { unknownProcessCount += 1 }
    }
    lookAtLoopDevices(sys.appending("block"))
    if let text = contents(of: proc.appending("self/mountinfo"), limit: Self.maximumMountsByteCount) {
      // Options of overlays list directories, with colons in between.
      for word in text.split(whereSeparator: { " \n:=,".contains($0) }) where word.contains("/") { note(path: word, images: true) }
    }
  }

  /// None.
  init() { (byName, byImage) = ([:], [:]) }

  /// What somebody has said of himself.
  init(packages: Set<PackageID>) {
    self.init()
    self.packages = packages
  }

  // MARK: Processes

  /// False when we may not look. A process that has ended meanwhile uses nothing.
  private mutating func lookAtProcess(_ path: FilePath) -> Bool {
    var isKnown = true
    func allowed<R>(_ body: () throws(StoreError) -> R) -> R? {
      do throws(StoreError) { return try body() } catch {
        if case .system(_, _, let errno) = error, errno == .permissionDenied || errno == .notPermitted { isKnown = false }
        return nil
      }
    }
    guard let directory = allowed({ () throws(StoreError) in try DirectoryHandle(opening: path) }) else { return isKnown }
    var paths: [Substring] = []
    for link in ["exe", "cwd", "root"] {
      let target = allowed { () throws(StoreError) in try directory.symbolicLinkTarget(of: try EntryName(link)) }
      if let target { paths.append(Substring(decoding: target, as: UTF8.self)) }
    }
    var files: [Substring] = []
    let descriptors = allowed { () throws(StoreError) in try DirectoryHandle(opening: path.appending("fd")) }
    if let descriptors {
      let names = allowed { () throws(StoreError) in try descriptors.names() } ?? []
      for name in names.prefix(Self.maximumFileCount) {
        if let target = try? descriptors.symbolicLinkTarget(of: name) { files.append(Substring(decoding: target, as: UTF8.self)) }
      }
    }
    let isServer = files.contains("/dev/fuse")
    let maps = allowed { () throws(StoreError) in
      try OwnedDescriptor(reading: path.appending("maps")).contents(limit: Self.maximumMapsByteCount, path: path)
    }
    if let maps { files += Self.mappedPaths(maps) }
    for path in paths { note(path: path, images: true) }
    for path in files { note(path: path, images: !isServer) }
    return isKnown
  }

  /// The paths at the ends of lines, each once; before it, a line has five words.
  private static func mappedPaths(_ maps: [UInt8]) -> [Substring] {
    var result: Set<Substring> = []
    for line in maps.split(separator: UInt8(ascii: "\n")) {
      guard let start = line.firstIndex(of: UInt8(ascii: "/")) else { continue }
      result.insert(Substring(decoding: line[start...], as: UTF8.self))
    }
    return Array(result)
  }

  // MARK: The kernel

  private mutating func lookAtLoopDevices(_ block: FilePath) {
    for device in (try? DirectoryHandle(opening: block).names()) ?? [] where device.description.hasPrefix("loop") {
      let file = block.appending(device.description).appending("loop/backing_file")
      if let text = contents(of: file, limit: 8192) { note(path: Substring(text), images: true) }
    }
  }

  private func contents(of file: FilePath, limit: Int) -> String? {
    (try? OwnedDescriptor(reading: file).contents(limit: limit, path: file)).map { String(decoding: $0, as: UTF8.self) }
  }

  private mutating func note(path: Substring, images: Bool) {
    var path = path
    while path.last?.isNewline == true { path.removeLast() }
    let deleted = " (deleted)"
    if path.hasSuffix(deleted) { path = path.dropLast(deleted.count) }
    for component in path.split(separator: "/") {
      if let package = byName[component] ?? (images ? byImage[component] : nil) { packages.insert(package) }
    }
  }
}
