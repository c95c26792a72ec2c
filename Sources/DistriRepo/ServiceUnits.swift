// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Glibc
import SystemPackage

/// What a change of the selected packages means for the systemd of the machine that runs.
public struct ServiceUnits: Sendable, Hashable {
  /// Unit files that came or were replaced, with the package that has them now; sorted.
  public private(set) var files: [String: PackageID] = [:]
  /// Whether unit files came, went or changed, so that systemd has to read them again.
  public private(set) var needsReload = false
  /// Services of replaced packages: those that are running go on with the new version. Sorted.
  public private(set) var services: [String] = []

  private static let directory = "out/lib/systemd/system"
  /// Sessions and connections of the whole machine would end with them: they change when it starts anew. Templates are not looked at either:
  /// their instances are people's sessions and consoles.
  private static let lasting: Set<String> = ["dbus.service", "dbus-broker.service", "systemd-logind.service"]

  /// Looks at the packages that came, went or replaced others.
  ///
  /// - Throws: `StoreError` for an image of a package that came and cannot be read.
  public init(added: [PackageID], removed: [PackageID], replacements: [PackageID], in store: LocalStore) throws {
    for package in added + replacements {
      for name in try Self.units(of: try store.image(of: package)) { files[name] = package }
    }
    // Of those that went, the images may be gone, too.
    let gone = try removed.contains { package in
      guard let image = try? store.image(of: package) else { return false }
      return try !Self.units(of: image).isEmpty
    }
    needsReload = gone || !files.isEmpty
    let replaced = Set(replacements)
    services = files.filter { replaced.contains($0.value) && Self.mayRestart($0.key) }.map(\.key).sorted()
  }

  private static func mayRestart(_ name: String) -> Bool {
    name.hasSuffix(".service") && !name.contains("@") && !lasting.contains(name)
  }

  private static func units(of image: PackageImage) throws -> [String] {
    guard let node = try image.node(at: try TreePath(parsing: directory)), try image.attributes(of: node).kind == .directory else {
      return []
    }
    return try image.entries(of: node).compactMap { entry in
      entry.kind == .regular ? String(validating: entry.name.bytes, as: UTF8.self) : nil
    }
  }

  /// Has systemd read its files again once the view shows the new ones, and start services anew that run in an older version.
  /// Does nothing where no systemd runs, or nothing has changed for it.
  ///
  /// - Parameter environment: of systemctl; `PATH` says where it is.
  /// - Throws: ``RepositoryError/units(_:reason:)``.
  public func apply(environment: [String]) async throws {
    guard needsReload, unsafe access("/run/systemd/system", F_OK) == 0 else { return }
    await waitForView()
    do {
      for arguments in [["daemon-reload"]] + (services.isEmpty ? [] : [["try-restart", "--"] + services]) {
        _ = try await Subprocess.run(
          ["systemctl"] + arguments, environment: environment, input: [], maximumByteCount: 1 << 20, timeLimit: .seconds(300))
      }
    } catch let failure as Subprocess.Failure {
      throw RepositoryError.units(self, reason: "\(failure)")
    }
  }

  /// The view follows the store by inotify: it is a moment behind. One that shows other packages than the store selects is not waited for.
  private func waitForView() async {
    let deadline = ContinuousClock.now + .seconds(5)
    while ContinuousClock.now < deadline, !files.allSatisfy({ Self.isShown($0.key, of: $0.value) }) {
      try? await Task.sleep(for: .milliseconds(10))
    }
  }

  private static func isShown(_ unit: String, of package: PackageID) -> Bool {
    var target = [CChar](repeating: 0, count: 4096)
    let count = unsafe readlink("/ro/lib/systemd/system/\(unit)", &target, target.count)
    guard count > 0 else { return false }
    let text = String(decoding: target.prefix(count).lazy.map(UInt8.init(bitPattern:)), as: UTF8.self)
    // A name that another package keeps will not change.
    return text.contains("/\(package)/") || !text.contains("/\(package.name)-\(package.architecture)-")
  }
}
