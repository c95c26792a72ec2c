// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Glibc
import Synchronization
import SystemPackage

/// Control groups of one sandbox's own, below the caller's, for the limits that count all of its processes. Gone when the value is.
///
/// Both versions of the kernel's interface: the second as systemd delegates it, the first as older hosts have it.
struct ControlGroup: ~Copyable {
  /// What the kernel counts.
  enum Controller: String, CaseIterable { case memory, pids }

  /// A group that bounds something.
  private struct Bound {
    var controller: Controller
    var directory: FilePath
    var hierarchy: Hierarchy
  }

  private var bounds: [Bound] = []

  /// Makes a group for each limit that can be had; see ``has(_:)`` for which that is.
  init(for limits: SandboxPlan.Limits) {
    guard limits.memory != nil || limits.processes != nil else { return }
    let hierarchies = Hierarchy.all()
    // The first process of the sandbox, which is none of the build's, counts as well.
    let wanted: [(Controller, String?)] = [(.memory, limits.memory.map { "\($0)" }), (.pids, limits.processes.map { "\($0 + 1)" })]
    let name = Self.name()
    for (controller, value) in wanted {
      guard let value else { continue }
      // Both versions may be mounted, and only one of them has the controller.
      for hierarchy in hierarchies where hierarchy.controllers.contains(controller.rawValue) {
        if bound(controller, to: value, by: hierarchy, name) { break }
      }
    }
  }

  private mutating func bound(_ controller: Controller, to value: String, by hierarchy: Hierarchy, _ name: String) -> Bool {
    let made = bounds.map(\.directory)
    guard let directory = hierarchy.makeGroup(name, for: controller, in: made) else { return false }
    guard hierarchy.limit(controller, to: value, in: directory) else {
      if !made.contains(directory) { unsafe rmdir(directory.string) }
      return false
    }
    bounds.append(Bound(controller: controller, directory: directory, hierarchy: hierarchy))
    return true
  }

  deinit { for directory in Set(bounds.map(\.directory)) { unsafe rmdir(directory.string) } }

  /// Whether the limit of a controller holds.
  func has(_ controller: Controller) -> Bool { bounds.contains { $0.controller == controller } }

  /// The files into which the number of a process is written that joins.
  var processFiles: [String] { Set(bounds.map { "\($0.directory)/cgroup.procs" }).sorted() }

  /// Whether the limit has been hit: a process killed for want of memory, or one that could not be started.
  func wasExceeded(_ controller: Controller) -> Bool {
    guard let bound = bounds.first(where: { $0.controller == controller }) else { return false }
    let (file, key) =
      switch (controller, bound.hierarchy.isUnified) {
      case (.memory, true): ("memory.events", "oom_kill")
      case (.memory, false): ("memory.oom_control", "oom_kill")
      case (.pids, _): ("pids.events", "max")
      }
    let lines = (try? bound.directory.appending(file).contents(limit: 4096)) ?? []
    for line in String(decoding: lines, as: UTF8.self).split(separator: "\n") {
      let words = line.split(separator: " ")
      if words.count == 2, words[0] == key { return words[1] != "0" }
    }
    return false
  }

  private static let counter = Atomic<Int>(0)

  private static func name() -> String {
    "distri-build-\(getpid())-\(counter.wrappingAdd(1, ordering: .relaxed).newValue)"
  }
}

/// A tree of control groups, as it is mounted.
struct Hierarchy {
  /// Whether it is of the second version, where one group counts everything.
  var isUnified: Bool
  /// What it can count; of the second version what it has in any group.
  var controllers: Set<String>
  /// Where its topmost visible group is.
  var mountPoint: FilePath
  /// The caller's own group.
  var own: FilePath

  /// What is mounted here.
  static func all() -> [Hierarchy] {
    parse(groups: text("/proc/self/cgroup") ?? "", mounts: text("/proc/self/mountinfo") ?? "")
  }

  /// - Parameters:
  ///   - groups: of `/proc/self/cgroup`.
  ///   - mounts: of `/proc/self/mountinfo`.
  static func parse(groups: String, mounts: String) -> [Hierarchy] {
    var paths: [String: String] = [:]
    for line in groups.split(separator: "\n") {
      let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false).map(String.init)
      guard fields.count == 3 else { continue }
      for controller in fields[1].split(separator: ",", omittingEmptySubsequences: false) { paths[String(controller)] = fields[2] }
    }
    return mounts.split(separator: "\n").compactMap { line in
      // 36 35 0:30 <root> <mount point> rw,… - cgroup2 none rw,…
      guard let separator = line.firstRange(of: " - ") else { return nil }
      let place = line[..<separator.lowerBound].split(separator: " "), kind = line[separator.upperBound...].split(separator: " ")
      guard place.count >= 5, kind.count >= 3, kind[0] == "cgroup" || kind[0] == "cgroup2" else { return nil }
      let isUnified = kind[0] == "cgroup2"
      var controllers = Set(kind[2].split(separator: ",").map(String.init))
      if isUnified { controllers = Set(ControlGroup.Controller.allCases.map(\.rawValue)) }
      guard let path = isUnified ? paths[""] : controllers.lazy.compactMap({ paths[$0] }).first else { return nil }
      let root = String(place[3]), point = FilePath(String(place[4]))
      guard root == "/" || path == root || path.hasPrefix(root + "/") else { return nil }
      let below = root == "/" ? Substring(path) : path.dropFirst(root.utf8.count)
      let own = below.split(separator: "/").reduce(point) { $0.appending(String($1)) }
      return Hierarchy(isUnified: isUnified, controllers: controllers, mountPoint: point, own: own)
    }
  }

  /// A new group that can count with the controller: one of those already made, else below the caller's own; in the second version,
  /// where a group with processes has no groups below it that count, beside it or further up.
  func makeGroup(_ name: String, for controller: ControlGroup.Controller, in made: [FilePath]) -> FilePath? {
    let file = isUnified ? "\(controller.rawValue).max" : "cgroup.procs"
    if let found = made.first(where: { $0.starts(with: mountPoint) && $0.appending(file).exists }), isUnified { return found }
    var parent = own
    while true {
      let group = parent.appending(name)
      if unsafe mkdir(group.string, 0o755) == 0 {
        // Each controller by itself: the first version may have the other one, and the kernel takes all of a list or none.
        if isUnified, !group.appending(file).exists, Self.mayCountBelow(parent) {
          for name in ControlGroup.Controller.allCases { put("+\(name)", into: parent.appending("cgroup.subtree_control")) }
        }
        if group.appending(file).exists, !isUnified || Self.text(group.appending("cgroup.type")) == "domain\n" { return group }
        unsafe rmdir(group.string)
      }
      guard isUnified, parent != mountPoint, parent.removeLastComponent() else { return nil }
    }
  }

  /// Whether a group of the second version may let those below it count: one without processes, or the topmost of all. With processes it
  /// would take the controllers that can count threads, and then no process could join a group below it.
  private static func mayCountBelow(_ group: FilePath) -> Bool {
    !group.appending("cgroup.type").exists || text(group.appending("cgroup.procs")) == ""
  }

  private static func text(_ path: FilePath) -> String? {
    (try? path.contents(limit: 1 << 20)).map { String(decoding: $0, as: UTF8.self) }
  }

  /// Sets a limit of a group.
  func limit(_ controller: ControlGroup.Controller, to value: String, in group: FilePath) -> Bool {
    switch (controller, isUnified) {
    case (.pids, _): return put(value, into: group.appending("pids.max"))
    case (.memory, true):
      // Memory that is swapped out would not count; on a machine without swap the file is not there.
      put("0", into: group.appending("memory.swap.max"))
      return put(value, into: group.appending("memory.max"))
    case (.memory, false):
      guard put(value, into: group.appending("memory.limit_in_bytes")) else { return false }
      put(value, into: group.appending("memory.memsw.limit_in_bytes"))
      return true
    }
  }

  @discardableResult
  private func put(_ text: String, into path: FilePath) -> Bool {
    guard let file = try? FileDescriptor.open(path, .writeOnly, options: .closeOnExec) else { return false }
    defer { try? file.close() }
    return (try? file.writeAll(text.utf8)) != nil
  }
}
