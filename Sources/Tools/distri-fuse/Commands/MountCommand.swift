// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriFS
import DistriStore
import Glibc
import SystemPackage
import ToolSupport
import ViewSupervisor

struct MountCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "mount",
    abstract: "Mount the view of a store, or of a repository.",
    discussion: """
      Returns when the view answers, and goes on in the background until it is unmounted or gets SIGTERM. A server that dies is replaced, and
      who uses the view only waits. SIGUSR1 makes it look at the store now. A dead view of ours on the same directory is cleared away first.

        distri-fuse mount /roimg /ro
        distri-fuse mount --section debug /roimg /ro-dbg

      With --remote, all packages of a repository are there without being installed. What is read is fetched in blocks of 64 KiB,
      each proven by the signed index, and kept for the next time.

        distri-fuse mount --remote https://repo.example.org/distri /ro
        distri-fuse mount --remote https://repo.example.org/distri --section debug /ro-dbg

      After an upgrade of this program, without unmounting:

        distri-fuse mount --take-over /ro
      """)

  @Argument(help: ArgumentHelp("The store: a directory of images and metadata.", valueName: "store"))
  var store: String?

  @Argument(help: ArgumentHelp("An existing directory.", valueName: "mount point"))
  var mountPoint: String?

  @OptionGroup var selection: PackageSelection

  @OptionGroup var repository: RemoteOptions

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

  @Option(help: ArgumentHelp("How far the kernel reads ahead; by default 1024, of a repository 128.", valueName: "KB"))
  var readAhead: Int?

  @Option(
    name: [.customLong("readiness"), .customLong("readiness-fd"), .customLong("ready-fd")],
    help: ArgumentHelp("Write a line to this descriptor when the view answers, and close it.", valueName: "number"))
  var readiness: Int32?

  func validate() throws {
    guard readAhead.map({ (0...(1 << 20)).contains($0) }) ?? true else {
      throw ValidationError("--read-ahead is from 0 to 1048576")
    }
    guard readiness.map({ $0 > 2 }) ?? true else { throw ValidationError("--readiness is a descriptor above 2") }
    if takeOver == nil {
      guard store != nil else { throw ValidationError("Missing expected argument '<store>'") }
      guard mountPoint != nil || repository.remote != nil else {
        throw ValidationError("Missing expected argument '<mount point>'")
      }
    } else if store != nil || exchange != nil || selection.packages != nil || repository.remote != nil {
      throw ValidationError("--take-over goes on with what is shown: give the mount point only")
    }
    guard repository.remote == nil || selection.packages == nil else {
      throw ValidationError("--packages is for the packages of a store; a repository is shown whole")
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

  private var end: @Sendable (any Error) -> Never { { ToolMain.end(DistriFuse.self, with: $0) } }

  private func start(_ recipe: Recipe?, isDetached: Bool, _ manager: ServiceManager) throws -> Supervisor {
    // A repository needs no store: then there is only one argument.
    guard let recipe, let place = mountPoint ?? store else {
      return try Supervisor.takingOver(
        FilePath(takeOver ?? ""), isDetached: isDetached, manager: manager, parseRemote: RepositoryRecipe.init, end: end)
    }
    let supervisor = try Supervisor(recipe: recipe, isDetached: isDetached, manager: manager, end: end)
    try supervisor.start(at: FilePath(place), options: options(of: recipe))
    return supervisor
  }

  /// Packages are resolved once: every server shows the same.
  private func makeRecipe() throws -> Recipe {
    var recipe = Recipe(
      store: nil, section: section, exchange: try Recipe.exchange(parsing: exchange), showsDevices: !hideDevices,
      remote: try repository.recipe())
    if mountPoint != nil, let store {
      let path = Mount.canonical(FilePath(store))
      recipe.store = path
      recipe.packages = try selection.resolve(in: try LocalStore(path: path, section: section))
    }
    return recipe
  }

  private func options(of recipe: Recipe) -> MountOptions {
    var options = MountOptions()
    options.allowsOtherUsers = allowOther ?? (geteuid() == 0)
    options.honorsPrivileges = privileged
    // The kernel reads around what it needs: that is fetched, too.
    options.readAheadKilobytes = readAhead ?? (recipe.remote == nil ? 1024 : 128)
    options.source = recipe.source
    return options
  }
}

extension LocalStore.Section: ExpressibleByArgument {}
