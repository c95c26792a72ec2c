// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// A proxy of Go modules, which answers by the protocol of GOPROXY.
struct ModuleProxy: Sendable {
  let pages: any PageFetcher
  /// A URL, or a directory of its layout; nil where none is known.
  let url: String?

  private func page(_ path: String, of module: String) async throws -> [UInt8] {
    guard let url else {
      throw BuildError.source(
        module, reason: "is looked up at a module proxy, and none is known; name one by --go-proxy or GOPROXY")
    }
    return try await pages.page("\(url)\(url.hasSuffix("/") ? "" : "/")\(path)").bytes
  }

  /// The newest version; of one that is a release, the newest release.
  ///
  /// - Throws: ``BuildError/source(_:reason:)``; what bringing pages throws.
  func newest(of module: String, after present: String) async throws -> String? {
    let listed = try await versions(of: module)
    if !listed.isEmpty { return UpstreamVersion.newest(of: listed, after: present, forcesSemantic: true) }
    // Of a module without versions the proxy knows the last state.
    return UpstreamVersion.newest(of: [try await latest(of: module)], after: present, forcesSemantic: true)
  }

  /// The version that stands for `latest`, for a word such as a branch, or for itself.
  ///
  /// - Throws: as ``newest(of:after:)``.
  func resolve(_ module: String, version: String?) async throws -> GoModule {
    var resolved: String
    if let version, version != "latest" {
      let name = try GoModule(url: "\(GoModule.scheme)://\(module)@\(version)")
      resolved = try Self.version(in: try await page(name.proxyPath(ending: "info"), of: module), module)
    } else {
      let listed = try await versions(of: module)
      let release = UpstreamVersion.newest(of: listed, after: "v0.0.0", forcesSemantic: true)
      resolved = release ?? UpstreamVersion.newest(of: listed, after: "v0.0.0-0", forcesSemantic: true) ?? ""
      if resolved.isEmpty { resolved = try await latest(of: module) }
    }
    return try GoModule(url: "\(GoModule.scheme)://\(module)@\(resolved)")
  }

  /// Its `go.mod`.
  func requirements(of module: GoModule) async throws -> GoModuleFile {
    try GoModuleFile(try await page(module.proxyPath(ending: "mod"), of: module.path), of: "\(module.path)@\(module.version)")
  }

  private func versions(of module: String) async throws -> [String] {
    let bytes = try await page("\(try Self.directory(of: module))/@v/list", of: module)
    return String(decoding: bytes, as: UTF8.self).split { $0.isWhitespace }.prefix(20_000).map(String.init)
  }

  private func latest(of module: String) async throws -> String {
    try Self.version(in: try await page("\(try Self.directory(of: module))/@latest", of: module), module)
  }

  private static func directory(of module: String) throws(BuildError) -> String {
    GoModule.escaped(try GoModule(url: "\(GoModule.scheme)://\(module)@v0").path)
  }

  private static func version(in bytes: [UInt8], _ module: String) throws(BuildError) -> String {
    guard let version = (try? JSONValue(bytes))?["Version"]?.string else {
      throw .source(module, reason: "has an answer of the module proxy that does not tell its version")
    }
    // Checked where it becomes a name.
    _ = try GoModule(url: "\(GoModule.scheme)://\(module)@\(version)")
    return version
  }
}

/// What a `go.mod` says that a build needs.
public struct GoModuleFile: Sendable, Hashable {
  /// The modules that it requires, with versions, each once, sorted by path.
  public private(set) var requirements: [GoModule] = []

  /// More than any `go.mod` has.
  static let maximumRequirementCount = 10_000

  /// Reads `require` lines and blocks; what else there is counts for the main module only.
  ///
  /// - Parameter subject: the module, for errors.
  /// - Throws: ``BuildError/source(_:reason:)`` with the line.
  public init(_ bytes: [UInt8], of subject: String) throws(BuildError) {
    guard bytes.count <= UpstreamLimits.metadata else {
      throw .source(subject, reason: "has a go.mod of more than \(UpstreamLimits.metadata) bytes")
    }
    var found: [String: GoModule] = [:]
    var isInside = false
    for (index, line) in bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).enumerated() {
      var words = String(decoding: line, as: UTF8.self).split { $0 == " " || $0 == "\t" || $0 == "\r" }
      if let comment = words.firstIndex(where: { $0.hasPrefix("//") }) { words.removeSubrange(comment...) }
      if isInside, words.first == ")" {
        isInside = false
      } else if words.starts(with: ["require", "("]) {
        isInside = true
      } else if words.first == "require" || isInside, !words.isEmpty {
        if !isInside { words.removeFirst() }
        let parts = words.map { $0.filter { $0 != "\"" && $0 != "`" } }
        guard parts.count == 2, found.count < Self.maximumRequirementCount,
          let module = try? GoModule(url: "\(GoModule.scheme)://\(parts[0])@\(parts[1])")
        else { throw .source(subject, reason: "line \(index + 1) of its go.mod requires no module with a version") }
        found[module.path] = module
      }
    }
    requirements = found.values.sorted { $0.path < $1.path }
  }
}

extension GoModule {
  /// The name of the package that has a module: as the original has it, `/` is `-` and `-` is `--`.
  static func packageName(of path: String) -> String {
    "go-" + path.replacing("-", with: "--").replacing("/", with: "-")
  }
}
