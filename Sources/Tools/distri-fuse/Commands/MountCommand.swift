// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriFS
import DistriStore
import Glibc
import SystemPackage
import ToolSupport

struct MountCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "mount",
    abstract: "Mount the view of a store.",
    discussion: """
      Returns when the view answers, and goes on in the background until it is unmounted or gets SIGTERM. A server that dies is replaced, and
      who uses the view only waits. SIGUSR1 makes it look at the store now. A dead view of ours on the same directory is cleared away first.

        distri-fuse mount /roimg /ro
        distri-fuse mount --section debug /roimg /ro-dbg

      After an upgrade of this program, without unmounting:

        distri-fuse mount --take-over /ro
      """)

  @Argument(help: ArgumentHelp("The store: a directory of images and metadata.", valueName: "store"))
  var store: String?

  @Argument(help: ArgumentHelp("An existing directory.", valueName: "mount point"))
  var mountPoint: String?

  @OptionGroup var selection: PackageSelection

  @Option(help: ArgumentHelp("The part of the store: pkg, debug or src.", valueName: "section"))
  var section: LocalStore.Section = .packages

  @Option(
    help: ArgumentHelp("Show only these exchange directories: names separated by commas, such as bin,lib.", valueName: "names"))
  var exchange: String?

  @Option(
    help: ArgumentHelp(
      "Serve what this program, maybe an older version, has mounted there: same view, no interruption.", valueName: "mount point"))
  var takeOver: String?

  @Flag(help: "Stay in the foreground.")
  var foreground = false

  @Flag(
    inversion: .prefixedNo,
    help: "Let other users see it: the default for root. Where an ordinary user wants it, /etc/fuse.conf has to allow that.")
  var allowOther: Bool?

  @Flag(help: "Let setuid programs and device nodes of packages have effect, as on a system's own /ro. Needs root.")
  var privileged = false

  @Flag(help: "Do not show the device nodes of packages.")
  var hideDevices = false

  @Option(help: ArgumentHelp("How far the kernel reads ahead.", valueName: "KB"))
  var readAhead = 1024

  @Option(
    name: [.customLong("readiness"), .customLong("readiness-fd"), .customLong("ready-fd")],
    help: ArgumentHelp("Write a line to this descriptor when the view answers, and close it.", valueName: "number"))
  var readiness: Int32?

  func validate() throws {
    guard (0...(1 << 20)).contains(readAhead) else { throw ValidationError("--read-ahead is from 0 to 1048576") }
    guard readiness.map({ $0 > 2 }) ?? true else { throw ValidationError("--readiness is a descriptor above 2") }
    if takeOver == nil {
      guard store != nil else { throw ValidationError("Missing expected argument '<store>'") }
      guard mountPoint != nil else { throw ValidationError("Missing expected argument '<mount point>'") }
    } else if store != nil || exchange != nil || selection.packages != nil {
      throw ValidationError("--take-over goes on with what is shown: give the mount point only")
    }
    do { _ = try Recipe.exchange(parsing: exchange) } catch { throw ValidationError("\(error)") }
  }

  func run() throws {
    let manager = ServiceManager()
    let readiness = readiness.map(FileDescriptor.init(rawValue:))
    let isDetached = !foreground || readiness != nil
    // Who waits for the end of a pipe or socket that we have inherited must not wait for us.
    if foreground, let readiness { ProcessCalls.closeOthers(than: [readiness]) }
    let recipe = takeOver == nil ? try makeRecipe() : nil
    func serve(_ ready: () throws -> Void) throws {
      let supervisor = try start(recipe, isDetached: isDetached, manager)
      try supervisor.run {
        if !foreground { ProcessCalls.leaveDirectory() }
        if isDetached { ProcessCalls.detach([.standardError]) }
        manager.notify("READY=1", "MAINPID=\(getpid())")
        if let readiness {
          _ = try? readiness.writeAll("ready\n".utf8)
          try? readiness.close()
        }
        try ready()
      }
    }
    if foreground {
      // Leaves the caller's terminal, so that its Ctrl-C and its end mean nothing to us.
      if readiness != nil { setsid() }
      try serve {}
    } else {
      try Launcher.inBackground(keeping: [readiness].compactMap(\.self), serve)
    }
  }

  private func start(_ recipe: Recipe?, isDetached: Bool, _ manager: ServiceManager) throws -> Supervisor {
    guard let recipe, let mountPoint else {
      return try Supervisor.takingOver(
        FilePath(takeOver ?? ""), isDetached: isDetached, manager: manager)
    }
    let supervisor = try Supervisor(recipe: recipe, isDetached: isDetached, manager: manager)
    try supervisor.start(at: FilePath(mountPoint), options: options(of: recipe))
    return supervisor
  }

  /// Packages are resolved once: every server shows the same.
  private func makeRecipe() throws -> Recipe {
    let path = Mount.canonical(FilePath(store ?? ""))
    let local = try LocalStore(path: path, section: section)
    return Recipe(
      store: path, section: section, packages: try selection.resolve(in: local), exchange: try Recipe.exchange(parsing: exchange),
      showsDevices: !hideDevices)
  }

  private func options(of recipe: Recipe) -> MountOptions {
    var options = MountOptions()
    options.allowsOtherUsers = allowOther ?? (geteuid() == 0)
    options.honorsPrivileges = privileged
    options.readAheadKilobytes = readAhead
    options.source = recipe.store.string
    return options
  }
}

extension LocalStore.Section: ExpressibleByArgument {}
