// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriBuild
import DistriStore
import Dispatch
import Synchronization

/// An expression on the first line, and the text that it looks through.
func matchExpression(_ bytes: [UInt8]) {
  let end = bytes.firstIndex(of: 10) ?? bytes.endIndex
  let text = String(decoding: bytes[end...], as: UTF8.self)
  guard let expression = try? RegularExpression(String(decoding: bytes[..<end], as: UTF8.self)) else { return }
  guard let matches = try? expression.matches(in: text, stepLimit: 200_000) else { return }
  for match in matches { precondition(match.allSatisfy { $0.map { text.utf8.count >= $0.utf8.count } ?? true } && match[0] != nil) }
  _ = try? expression.replacingMatches(in: text, with: "$1${x}$$", stepLimit: 200_000)
}

/// The bytes as each of the indexes and files of metadata.
func readIndexes(_ bytes: [UInt8]) {
  let text = String(decoding: bytes, as: UTF8.self)
  let words = text.split(maxSplits: 20) { $0 == " " || $0 == "\n" }.map(String.init)
  if let index = try? CPANIndex(bytes, subject: "fuzz") {
    for word in words { precondition(index.path(of: word)?.split(separator: "/").contains("..") != true) }
  }
  if let index = try? DebianIndex(bytes, subject: "fuzz") { for word in words { _ = try? index.newest(word) } }
  if let requirements = try? GoModuleFile(bytes, of: "fuzz").requirements {
    precondition(Set(requirements.map(\.path)).count == requirements.count)
  }
  for metadata in [SourceMetadata(packageInformation: text), SourceMetadata(perlMetadata: bytes)] {
    precondition(!metadata.summary.contains("\n") && !metadata.homepage.contains(" "))
  }
  if let newest = UpstreamVersion.newest(of: words, after: "1.0") {
    precondition(UpstreamVersion.newest(of: words, after: newest) == nil)
  }
}

private struct OnePage: PageFetcher {
  let bytes: [UInt8]
  func page(_ url: String, maximumByteCount: Int) async throws -> FetchedPage { FetchedPage(url: url, bytes: bytes) }
}

/// What a search takes for a newer release has a name and an address that a definition can have.
func lookForRelease(on page: [UInt8]) {
  let text = "source: \"https://h/d/nano-7.2.tar.xz\" version: \"7.2-1\""
  guard let file = try? DefinitionFile(bytes: Array(text.utf8), path: "fuzz", name: "nano") else { return }
  let found = Mutex<UpstreamSearch.Outcome?>(nil)
  let done = DispatchSemaphore(value: 0)
  Task {
    let outcome = try? await UpstreamSearch(pages: OnePage(bytes: page)).newest(of: file)
    found.withLock { $0 = outcome }
    done.signal()
  }
  done.wait()
  guard case .newer(let release) = found.withLock({ $0 }) else { return }
  precondition((try? PackageID(parsing: "nano-amd64-\(release.version)-2"))?.upstream == release.version)
  precondition(release.source.hasPrefix("https://") && release.source.contains("nano-") && release.location.hasPrefix("https://"))
  precondition(release.sha256.isEmpty || release.sha256.utf8.count == 64)
}
