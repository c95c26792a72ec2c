// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// How mount(8) calls a helper, also for a line of `/etc/fstab`: `mount.fuse.distri STORE MOUNTPOINT [-sfnv] [-o OPTIONS]`.
///
///     /roimg                             /ro      fuse.distri  suid,dev,nofail                0  0
///     https://repo.example.org/distri    /ro-dbg  fuse.distri  section=debug,_netdev,nofail  0  0
enum MountHelper {
  /// What a command line means.
  enum Meaning {
    /// This program under its own name.
    case notHelper
    /// The same as these arguments of `distri-fuse`.
    case command([String])
    /// All is understood, and nothing to be done.
    case nothing
    case failure(any Error)
  }

  private static let names: Set = ["mount.fuse.distri", "mount.distri", "distri"]

  /// Options that say nothing to us: who may mount when, and what is always so or of no effect on a read-only view.
  private static let ignored: Set = [
    "rw", "ro", "defaults", "auto", "noauto", "user", "nouser", "users", "owner", "group", "nofail", "_netdev", "exec", "async",
    "atime",
    "noatime", "relatime", "norelatime", "strictatime", "nostrictatime", "lazytime", "nolazytime", "diratime", "nodiratime",
    "silent", "loud",
    "default_permissions",
  ]

  /// Looks at the name under which the program was called.
  static func translate(_ commandLine: [String]) -> Meaning {
    let name = commandLine.first?.split(separator: "/").last.map(String.init) ?? ""
    guard names.contains(name) else { return .notHelper }
    do {
      return try arguments(from: Array(commandLine.dropFirst())).map(Meaning.command) ?? .nothing
    } catch {
      return .failure(error)
    }
  }

  private static func arguments(from words: [String]) throws -> [String]? {
    var places: [String] = []
    var options: [String] = []
    var isSloppy = false
    var isFake = false
    var rest = words[...]
    while let word = rest.popFirst() {
      guard word.hasPrefix("-"), word.count > 1 else {
        places.append(word)
        continue
      }
      if word == "-o" || word == "-t" || word == "-N" {
        guard let value = rest.popFirst() else { throw ValidationError("\(word) needs a value") }
        if word == "-o" { options += value.split(separator: ",").map(String.init) }
        if word == "-N" { throw ValidationError("-N is not supported: enter the namespace first") }
        continue
      }
      for letter in word.dropFirst() {
        switch letter {
        case "s": isSloppy = true
        case "f": isFake = true
        case "n", "v": break
        default: throw ValidationError("-\(letter) is unknown; usage: mount.fuse.distri STORE MOUNTPOINT [-sfnv] [-o OPTIONS]")
        }
      }
    }
    guard places.count == 2 else { throw ValidationError("usage: mount.fuse.distri STORE MOUNTPOINT [-sfnv] [-o OPTIONS]") }
    var flags = try flags(for: options, isSloppy: isSloppy)
    if places[0].contains("://") { flags += ["--remote", places.removeFirst()] }
    return isFake ? nil : ["mount"] + flags + ["--"] + places
  }

  private static func flags(for options: [String], isSloppy: Bool) throws -> [String] {
    var flags: [String] = []
    var lists: [String: [String]] = [:]
    var isPrivileged = false
    for option in options {
      let parts = option.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
      let value = parts.count == 2 ? parts[1] : nil
      switch (parts[0], value) {
      case ("allow_other", nil): flags.append("--allow-other")
      case ("suid", nil), ("dev", nil): isPrivileged = true
      case ("nosuid", nil), ("nodev", nil): isPrivileged = false
      case ("hide_devices", nil): flags.append("--hide-devices")
      case ("section", let value?): flags += ["--section", value]
      case ("readahead", let value?): flags += ["--read-ahead", value]
      case ("remote", let value?): flags += ["--remote", value]
      case ("cache", let value?): flags += ["--cache", value]
      case ("cache_size", let value?): flags += ["--cache-size", value]
      case ("insecure_unsigned", nil): flags.append("--insecure-unsigned")
      // A comma ends an option: names are separated by colons, or the option comes again.
      case ("packages", let value?), ("exchange", let value?):
        lists[parts[0], default: []] += value.split(separator: ":").map(String.init)
      case (let name, _) where ignored.contains(name) || name.hasPrefix("x-") || name.hasPrefix("X-") || name == "comment": break
      default: if !isSloppy { throw ValidationError("the mount option \(option) is unknown; see distri-fuse mount --help") }
      }
    }
    for (name, values) in lists.sorted(by: { $0.key < $1.key }) { flags += ["--\(name)", values.joined(separator: ",")] }
    return flags + (isPrivileged ? ["--privileged"] : [])
  }
}
