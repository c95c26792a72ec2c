// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// Why signed metadata, or a file that it lists, is not to be trusted.
public enum TrustFailure: Sendable, Equatable {
  /// It is not what the specification describes. `place` is a path such as `signed.roles.root`, or a position in bytes.
  case malformed(place: String, reason: String)
  /// Written for another major version of the specification.
  case unsupportedSpecification(String)
  /// Too few of the keys that its role is delegated to have signed it.
  case tooFewSignatures(role: String, valid: Int, threshold: Int)
  /// Not the version that was asked for, or that other metadata names.
  case wrongVersion(expected: Int64, got: Int64)
  /// Older than what was trusted before.
  case rolledBack(trusted: Int64, offered: Int64)
  /// The snapshot has no such metadata, or no longer.
  case notInSnapshot
  /// No longer valid since then.
  case expired(UTCTime)
  /// Length or hash differ from what signed metadata says.
  case mismatch(expected: String, got: String)
  /// A part of a file, by its number, is not what the signed tree says.
  case wrongBlock(Int)
  /// No role that may speak for this target lists it.
  case noSuchTarget
  /// More keys, roots, roles or delegations than are accepted.
  case tooMany(String, limit: Int)
  /// There is no trusted root to start from.
  case notInitialized
}

extension TrustFailure: CustomStringConvertible {
  /// The rest of a sentence.
  public var description: String {
    switch self {
    case .malformed(let place, let reason): "not valid metadata: \(place.printable): \(reason.printable)"
    case .unsupportedSpecification(let version): "written for TUF \(version.printable), but only 1.x is known"
    case .tooFewSignatures(let role, let valid, let threshold):
      "signed by \(valid) of the keys for «\(role.printable)», but \(threshold) are needed; its keys changed or this is an attack"
    case .wrongVersion(let expected, let got):
      "is version \(got) where version \(expected) was promised; if the repository was just published, try again"
    case .rolledBack(let trusted, let offered):
      "version \(offered) is offered, but version \(trusted) was seen before; an old repository is served, or this is an attack"
    case .notInSnapshot: "the signed snapshot does not list it"
    case .expired(let time):
      "expired at \(time); an old repository is served, the publisher is late, or this machine's clock is wrong"
    case .mismatch(let expected, let got):
      "not the signed file: expected \(expected), got \(got); if the repository was just published, try again"
    case .wrongBlock(let number):
      "block \(number), the \(BlockTree.blockByteCount) bytes from \(UInt64(number) * BlockTree.blockByteCount) on, is not the signed one"
    case .noSuchTarget: "no role that may speak for it lists it"
    case .tooMany(let what, let limit): "more than \(limit) \(what)"
    case .notInitialized: "has no trusted root; give it one with «distri-fetch trust init ROOT.json»"
    }
  }
}
