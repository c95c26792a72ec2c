// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import SystemPackage

/// What can go wrong with packages at rest. The payload is the subject; the sentence is made in ``description``.
public enum StoreError: Error, Sendable, Equatable {
  /// A package or entry name that cannot be one.
  case invalidName(String, NameDefect)
  /// Metadata or an index that does not parse. `line` counts from 1 where it is known.
  case invalidMetadata(of: String, line: Int?, reason: String)
  /// The store or repository has no such package.
  case notFound(String)
  /// The bytes of an image contradict the format. `place` is the structure that is damaged.
  case damagedImage(FilePath, place: String, reason: String)
  /// An archive or tree that cannot be read, or an entry of it that would leave its root.
  case invalidArchive(FilePath, entry: String?, reason: String)
  /// Another process writes to the store.
  case locked(FilePath, holder: Int32?)
  /// The store at the path has the package with other contents.
  case immutable(PackageID, in: FilePath)
  /// The store has no generation of that number; nil: none at all, or none before the current one.
  case noGeneration(UInt64?, in: FilePath)
  /// A part of what lies elsewhere is not here, and cannot be brought here.
  case unavailable(String, reason: String)
  /// A system call failed.
  case system(operation: String, path: FilePath, Errno)

  /// Why a name is none.
  public enum NameDefect: Sendable, Equatable {
    /// Nothing, or nothing before the architecture.
    case empty
    /// More bytes than ``PackageID/maximumByteCount``.
    case tooLong
    /// Starts with a dot.
    case hidden
    /// A byte outside printable ASCII, or `/`.
    case forbiddenByte(UInt8)
    /// No `-<architecture>-<version>` at the end.
    case noVersion
    /// The parts would parse back to other parts.
    case notCanonical
  }
}

extension StoreError: CustomStringConvertible {
  /// A sentence for people that says what to do where that is known.
  public var description: String {
    switch self {
    case .invalidName(let name, let defect):
      "«\(name.printable)» is not a package name: \(defect)"
    case .invalidMetadata(let subject, let line, let reason):
      "\(subject)\(line.map { ":\($0)" } ?? ""): \(reason)"
    case .notFound(let what):
      "no package «\(what.printable)» here"
    case .damagedImage(let path, let place, let reason):
      "\(path): damaged image, \(place): \(reason)"
    case .invalidArchive(let path, let entry, let reason):
      "\(path): \(entry.map { "entry «\($0.printable)»: " } ?? "")\(reason)"
    case .locked(let path, let holder):
      "\(path) is being written by \(holder.map { "process \($0)" } ?? "another process"); try again when it is done"
    case .immutable(let package, let path):
      "\(path) has \(package) already, with other contents; a package never changes: give the new one a higher revision"
    case .noGeneration(let number?, let path):
      "\(path) has no generation \(number); distri-fetch generations lists those that are there"
    case .noGeneration(nil, let path):
      "\(path) has no such generation: every installation, update and removal by distri-fetch makes one"
    case .unavailable(let what, let reason):
      "\(what.printable): \(reason)"
    case .system(let operation, let path, let errno):
      "\(operation) \(path): \(errno)"
    }
  }
}

extension StoreError.NameDefect: CustomStringConvertible {
  /// The rest of a sentence.
  public var description: String {
    switch self {
    case .empty: "it is empty"
    case .tooLong: "it is longer than \(PackageID.maximumByteCount) bytes"
    case .hidden: "it starts with a dot"
    case .forbiddenByte(let byte): "it contains the byte 0x\(String(byte, radix: 16)), only printable ASCII without / is allowed"
    case .noVersion: "it has no -<architecture>-<version>, as in nano-amd64-7.2-3"
    case .notCanonical: "its parts would be read back as others"
    }
  }
}

extension String {
  /// The text with control characters escaped and cut to a length that a terminal bears: it may come from a hostile file.
  package var printable: String {
    var result = ""
    for scalar in unicodeScalars.prefix(120) {
      result += scalar.value < 0x20 || scalar.value == 0x7f ? "\\u{\(String(scalar.value, radix: 16))}" : String(scalar)
    }
    return unicodeScalars.count > 120 ? result + "…" : result
  }
}
