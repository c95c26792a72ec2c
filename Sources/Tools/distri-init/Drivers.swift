// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// Loads the kernel modules that the machine's hardware asks for.
struct Drivers {
  private static let directory = "/modules"

  private let index: ModuleIndex
  private var loaded: Set<String> = []
  private var answered: Set<String> = []

  /// Loads what every machine needs.
  init(_ index: ModuleIndex) {
    self.index = index
    for name in index.always { load(name) }
  }

  /// Loads what hardware asks for that was not there the last time. A bus shows what is on it when its own driver is there: this goes on until nothing
  /// new is seen.
  mutating func loadMissing() {
    while true {
      let new = Self.modaliases().subtracting(answered)
      if new.isEmpty { return }
      answered.formUnion(new)
      for modalias in new.sorted() {
        for name in index.modules(for: modalias) { load(name) }
      }
    }
  }

  /// Names of what is loaded, for people.
  var summary: String { loaded.isEmpty ? "none" : loaded.sorted().joined(separator: " ") }

  /// Frees the memory that the modules' files take: from here on the root has what is needed.
  static func removeFiles() {
    for name in System.names(in: directory) { System.remove("\(directory)/\(name)") }
  }

  private mutating func load(_ name: String) {
    guard loaded.insert(name).inserted else { return }
    for dependency in index.dependencies[name] ?? [] { load(dependency) }
    do {
      try System.loadModule("\(Self.directory)/\(name).ko")
    } catch {
      // A processor or chip that it turns out not to be for is no failure. Any other may be none for the root.
      if !error.isMissingDevice { Console.say("\(error)") }
    }
  }

  /// What the devices of all buses say they are.
  private static func modaliases() -> Set<String> {
    var found: Set<String> = []
    for bus in System.names(in: "/sys/bus") {
      for device in System.names(in: "/sys/bus/\(bus)/devices") {
        guard let text = try? System.text(of: "/sys/bus/\(bus)/devices/\(device)/modalias") else { continue }
        found.insert(String(text.prefix { $0 != "\n" }))
      }
    }
    return found
  }
}
