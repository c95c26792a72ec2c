// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// What can go wrong with repositories. The payload is the subject; the sentence is made in ``description``.
public enum RepositoryError: Error, Sendable, Equatable {
  /// The server answers that it has no such file (404, 410), or there is none in a directory.
  case notFound(url: String)
  /// The file could not be brought here.
  case transferFailed(url: String, TransferFailure)
  /// More than `limit` bytes came, or were announced.
  case tooLarge(url: String, limit: UInt64)
  /// A whole file came, but not the one that the index promises. `subject` is the package or what the caller calls the file.
  case mismatch(subject: String, url: String, expected: RepositoryIndex.FileDigest, got: RepositoryIndex.FileDigest)
  /// The repository's index carries no digest for the package, so that nothing proves its files.
  case unverifiable(PackageID, repository: String)
  /// Neither `http://`, `https://`, `file://` nor a path, or not written as one.
  case invalidURL(String)
  /// No repository has a package that was asked for, or that one of them depends on.
  case unresolved(String, neededBy: PackageID?, repositories: [String])
  /// Signed metadata, or a file that it lists, does not verify.
  case untrusted(file: String, TrustFailure)
  /// The repository has no signed metadata that this machine trusts, and unsigned ones were not asked for.
  case unsigned(repository: String)
  /// Metadata could not be signed. `key` is its file or command.
  case signing(key: String, reason: String)
  /// systemd's tool did not do what a package declares.
  case declaration(SystemDeclaration, reason: String)
  /// systemd did not take other versions of units.
  case units(ServiceUnits, reason: String)
  /// A system call failed.
  case system(operation: String, path: FilePath, Errno)
}

/// Why a server's certificate is not trusted.
public enum CertificateDefect: Sendable, Equatable {
  /// Its time is over.
  case expired
  /// Its time has not come.
  case notYetValid
  /// Only the server itself vouches for it.
  case selfSigned
  /// None of the authorities that are trusted here vouches for it.
  case unknownIssuer
  /// It is another server's.
  case wrongHost
  /// Something else, in libcurl's words.
  case other(String)
}

/// Why a file could not be brought here.
public enum TransferFailure: Sendable, Equatable {
  /// An answer other than the file: an HTTP status such as 403 or 503.
  case status(Int)
  /// No connection, or too few bytes, within the time allowed.
  case timedOut
  /// No such host, or nobody listens there. Says what libcurl said.
  case unreachable(String)
  /// The connection broke, or ended before the announced length.
  case interrupted(String)
  /// A redirect to something other than HTTP, from HTTPS to HTTP, or too many of them.
  case redirectRefused
  /// The server's certificate does not prove who it is.
  case untrusted(CertificateDefect)
  /// The proxy does not let the request pass: its HTTP status.
  case refusedByProxy(Int)
  /// The network must not be asked.
  case offline
  /// The answer breaks the rules of HTTP or of its content encoding.
  case malformed(String)
  /// A part of the file was asked for, and it has none such, is another file by now, or the server only has whole files.
  case rangeUnavailable

  /// Whether the same request may succeed a moment later.
  var isTransient: Bool {
    switch self {
    case .status(let status): status == 408 || status == 429 || status >= 500
    case .refusedByProxy(let status): status >= 500
    case .timedOut, .unreachable, .interrupted: true
    case .redirectRefused, .untrusted, .malformed, .rangeUnavailable, .offline: false
    }
  }
}

extension RepositoryError: CustomStringConvertible {
  /// A sentence for people that says what to do where that is known.
  public var description: String {
    switch self {
    case .notFound(let url):
      "\(url.withoutCredentials): there is no such file"
    case .transferFailed(let url, let failure):
      "\(url.withoutCredentials): \(failure)"
    case .tooLarge(let url, let limit):
      "\(url.withoutCredentials): more than the \(limit) bytes that are expected at most; the repository changed or is not to be trusted"
    case .mismatch(let subject, let url, let expected, let got):
      """
      \(subject.printable): \(url.withoutCredentials) is not the file of the index: expected \(expected.words), got \(got.words); \
      if the repository was just published, try again
      """
    case .unverifiable(let package, let repository):
      """
      \(package): the index of \(repository.withoutCredentials) has no SHA-256 for it, so nothing proves its files; \
      publish the repository with distri-fetch, or allow unverified packages explicitly
      """
    case .invalidURL(let text):
      "«\(text.printable)» is neither an http://, https:// or file:// URL nor a path"
    case .unresolved(let what, let dependent, let repositories):
      "no package «\(what.printable)»\(dependent.map { ", which \($0) needs," } ?? "") in "
        + (repositories.isEmpty
          ? "any repository: none is configured" : repositories.map(\.withoutCredentials).joined(separator: ", "))
    case .untrusted(let file, let failure):
      "\(file.withoutCredentials): \(failure)"
    case .unsigned(let repository):
      """
      \(repository.withoutCredentials): no trusted root is known for this repository, so nothing proves its files; give it one with \
      «distri-fetch trust init ROOT.json --repo URL», or accept an unsigned repository this once with --insecure-unsigned
      """
    case .signing(let key, let reason):
      "cannot sign with \(key.printable): \(reason.printable)"
    case .units(let units, let reason):
      """
      systemctl: \(reason); the packages are installed, and run what they did before until «systemctl daemon-reload» and, for \
      \(units.services.isEmpty ? "none" : units.services.joined(separator: " ").printable), «systemctl try-restart»
      """
    case .declaration(let declaration, let reason):
      """
      \(declaration.kind.rawValue)/\(declaration.name.printable) of \(declaration.package): \(declaration.kind.program): \(reason); \
      the package is there, and the machine tries this again when it starts
      """
    case .system(let operation, let path, let errno):
      "\(operation) \(path): \(errno)"
    }
  }
}

extension TransferFailure: CustomStringConvertible {
  /// The rest of a sentence.
  public var description: String {
    switch self {
    case .status(let status): "the server answers with status \(status)"
    case .timedOut: "no answer, or too slow a one, within the time allowed"
    case .unreachable(let reason): "cannot reach the server: \(reason.printable)"
    case .interrupted(let reason): "the connection broke: \(reason.printable)"
    case .redirectRefused: "refused to follow a redirect: it leads out of HTTP, from HTTPS to HTTP, or round and round"
    case .untrusted(let defect): "cannot trust the server: \(defect)"
    case .refusedByProxy(407): "the proxy wants to know who asks; name it as http://USER:PASSWORD@HOST:PORT"
    case .refusedByProxy(let status): "the proxy answers with status \(status)"
    case .offline: "not asked for, since the network is not to be used"
    case .malformed(let reason): "not a valid answer: \(reason.printable)"
    case .rangeUnavailable:
      "the part of the file that was asked for is not to be had: the file changed, or the server has whole files only"
    }
  }
}

extension CertificateDefect: CustomStringConvertible {
  /// The rest of a sentence, with what to do.
  public var description: String {
    switch self {
    case .expired: "its certificate has expired; if this machine's clock is right, whoever runs the server has to renew it"
    case .notYetValid: "its certificate is not valid yet; look whether this machine's clock is right"
    case .selfSigned: "it has signed its certificate itself; if it is yours, say with --cacert FILE that the certificate is trusted"
    case .unknownIssuer:
      """
      nobody who is trusted here has signed its certificate; install ca-certificates, or name the file of the authority \
      that has signed it with --cacert FILE
      """
    case .wrongHost: "its certificate is another server's; look whether the address is right, somebody may be in between"
    case .other(let reason): reason.printable
    }
  }
}

extension RepositoryIndex.FileDigest {
  fileprivate var words: String { "\(byteCount) bytes with SHA-256 \(sha256.hexadecimal)" }
}

extension String {
  /// The URL without user and password, and printable.
  package var withoutCredentials: String {
    guard let scheme = range(ofASCII: "://") else { return printable }
    let rest = self[scheme.upperBound...]
    let authority = rest.prefix { $0 != "/" && $0 != "?" && $0 != "#" }
    guard let at = authority.lastIndex(of: "@") else { return printable }
    return (self[..<scheme.upperBound] + rest[rest.index(after: at)...]).description.printable
  }

  private func range(ofASCII text: String) -> Range<String.Index>? {
    var start = startIndex
    while start < endIndex {
      if self[start...].hasPrefix(text) { return start..<index(start, offsetBy: text.count) }
      formIndex(after: &start)
    }
    return nil
  }
}
