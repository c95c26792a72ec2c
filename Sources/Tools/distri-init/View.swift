// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// The view `/ro` of the root's store, served by this program out of the initramfs.
///
/// The initramfs stays reachable at ``initramfs`` of the new root: the daemon's files must lie outside of what it serves, and outside
/// of the root file system, so that this can be unmounted at shutdown.
enum View {
  static let store = "/roimg"
  static let mountPoint = "/ro"
  /// Where the root shows the initramfs.
  static let initramfs = "/run/initramfs"
  /// The run-time linker of the initramfs, at a path that does not depend on the architecture.
  static let linker = initramfs + "/lib/ld.so"
  /// This program.
  static let program = initramfs + "/init"
  /// Under this name it is the daemon. It starts with `@`: systemd does not kill such processes at shutdown.
  static let daemonName = "@distri-fuse"

  /// The daemon's command line. `linked` when it needs shared objects: then it is started through its own linker, since those of the
  /// root are in the view.
  static func arguments(linked: Bool) -> [String] {
    guard linked else { return [daemonName] }
    return [daemonName, "--library-path", initramfs + "/lib", "--argv0", daemonName, program]
  }

  /// Starts the daemon, does something else meanwhile, and returns when the view can be used.
  static func start(until deadline: Deadline, meanwhile other: () -> Void) throws {
    guard System.exists(store), System.exists(mountPoint) else {
      throw BootFailure("the root file system has no /roimg and /ro: it is none of distri")
    }
    let linked = System.exists(linker)
    var pipe = try ReadinessPipe()
    let outcome = try pipe.start(
      { ready throws(System.CallFailure) in
        try Process(path: linked ? linker : program, arguments: arguments(linked: linked), session: .own, ready: ready)
      }, meanwhile: other, until: deadline)
    switch outcome {
    case .ready: return
    case .gone: throw BootFailure("the daemon of the view /ro ended before that was there", hints: ["its last words are above"])
    case .late: throw BootFailure("the view /ro was not there in time", hints: ["distri.timeout=SECONDS waits longer"])
    }
  }
}
