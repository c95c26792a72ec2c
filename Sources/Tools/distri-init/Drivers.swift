// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// Loads the kernel modules that the machine's hardware asks for.
struct Drivers {
  private let index: ModuleIndex
  private var directory = "/modules"
  private var loaded: Set<String> = []
  /// Of these, the ones that have found nothing that they are for, and what cannot be loaded without them.
  private var useless: Set<String> = []
  /// Devices that have been asked what they are, as `BUS/NAME`.
  private var asked: Set<String> = []
  /// What is still to be loaded, the next one last.
  private var wanted: [String] = []

  /// Loads what every machine needs.
  init(_ index: ModuleIndex = ModuleIndex()) {
    self.index = index
    for name in index.always { load(name) }
  }

  /// Loads one driver that hardware asks for. A bus shows what is on it when its own driver is there: what has appeared last comes first, so that a disk is
  /// found before drivers of everything else are loaded.
  ///
  /// - Returns: false when nothing is left to load.
  mutating func loadNext() -> Bool {
    for modalias in newModaliases().sorted(by: >) { wanted += index.modules(for: modalias).reversed() }
    while let name = wanted.popLast() {
      if loaded.contains(name) { continue }
      load(name)
      return true
    }
    return false
  }

  /// Loads all that is left to load.
  mutating func loadRest() {
    while loadNext() {}
  }

  /// Loads what virtio devices ask for: first the cards, then what is on them.
  mutating func loadVirtio() {
    for (bus, beginning) in [("pci", "pci:v00001AF4"), ("virtio", "virtio:")] {
      for device in System.names(in: Self.devices(on: bus)) {
        guard let modalias = Self.modalias(of: device, on: bus), modalias.hasPrefix(beginning) else { continue }
        for name in index.modules(for: modalias) { load(name) }
      }
    }
  }

  /// Finds its files in another place from now on.
  mutating func follow(to root: String) { directory = root + directory }

  /// Names of what is loaded, for people.
  var summary: String { loaded.isEmpty ? "none" : loaded.sorted().joined(separator: " ") }

  /// Frees the memory that the modules' files take: from here on the root has what is needed.
  func removeFiles() {
    for name in System.names(in: directory) { System.remove("\(directory)/\(name)") }
  }

  private mutating func load(_ name: String) {
    guard loaded.insert(name).inserted else { return }
    for dependency in index.dependencies[name] ?? [] { load(dependency) }
    do {
      try System.loadModule("\(directory)/\(name).ko")
    } catch {
      // A processor or chip that it turns out not to be for is no failure, nor is what uses such a module. Any other may be one for the root.
      let isUser = index.dependencies[name]?.contains(where: useless.contains) ?? false
      if error.isMissingDevice || isUser { useless.insert(name) } else { Console.say("\(error)") }
    }
  }

  /// What the devices say they are that have appeared since the last time.
  private mutating func newModaliases() -> Set<String> {
    var found: Set<String> = []
    for bus in System.names(in: "/sys/bus") {
      for device in System.names(in: Self.devices(on: bus)) where asked.insert("\(bus)/\(device)").inserted {
        if let modalias = Self.modalias(of: device, on: bus) { found.insert(modalias) }
      }
    }
    return found
  }

  private static func devices(on bus: String) -> String { "/sys/bus/\(bus)/devices" }

  private static func modalias(of device: String, on bus: String) -> String? {
    (try? System.text(of: "\(devices(on: bus))/\(device)/modalias")).map { String($0.prefix { $0 != "\n" }) }
  }
}
