// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Synchronization
import SystemPackage

/// Digests of files, each computed once for as long as the file stays what it is: images are large.
///
/// What is known is kept in a file between runs, which nothing depends on: what is damaged or missing is computed again. A file that was changed
/// within the last seconds may change once more without a trace in its times, so that its digest is used, and not kept.
///
/// The file is text, a line a file, sorted: digest, bytes, device, inode, times of modification and change in nanoseconds, path. The last line is the
/// SHA-256 of all others: what two processes wrote at once, or a power cut left, is not believed.
///
/// Any number of tasks may use it.
public final class FileDigests: Sendable {
  private struct Entry {
    var identity: FileIdentity
    var digest: ContentDigest
    var isUsed = true
    /// Whether it is worth keeping.
    var isSettled = true
  }

  private struct State {
    var entries: [FilePath: Entry] = [:]
    var isChanged = false
  }

  /// Where they are kept between runs; nil for nowhere.
  private let path: FilePath?
  private let state: Mutex<State>

  /// Kernels give files times as coarse as some milliseconds, network file systems and clocks that are set as coarse as seconds.
  private static let settlingTime: Int64 = 2_000_000_000
  /// The largest file that is read, in bytes, and how many files are remembered that nobody has asked for any more.
  private static let maximumByteCount = 64 << 20
  private static let maximumUnusedCount = 20_000

  /// Reads what is known; nothing where there is no file.
  public init(path: FilePath? = nil) {
    self.path = path
    var state = State()
    if let path, let bytes = try? path.contents(limit: Self.maximumByteCount) {
      for line in Self.lines(of: bytes) {
        if let (file, entry) = Self.entry(of: line) { state.entries[file] = entry }
      }
    }
    self.state = Mutex(state)
  }

  /// The digest of a file.
  ///
  /// - Throws: ``BuildError/system(operation:path:_:)``; `EBUSY` when the file changes meanwhile.
  public func digest(of file: FilePath) throws(BuildError) -> ContentDigest {
    let identity = try FileIdentity(of: file)
    let known: ContentDigest? = state.withLock { state in
      guard let entry = state.entries[file], entry.identity == identity else { return nil }
      state.entries[file]?.isUsed = true
      return entry.digest
    }
    if let known { return known }
    let digest = try ContentDigest(of: file)
    guard try FileIdentity(of: file) == identity else { throw .system(operation: "read", path: file, .resourceBusy) }
    remember(digest, of: file, identity, isSettled: identity.changeTime < FileIdentity.now - Self.settlingTime)
    return digest
  }

  /// Remembers the digest of a file that was just verified, and never changes.
  public func note(_ digest: ContentDigest, of file: FilePath) {
    guard let identity = try? FileIdentity(of: file), identity.byteCount == digest.byteCount else { return }
    remember(digest, of: file, identity, isSettled: true)
  }

  private func remember(_ digest: ContentDigest, of file: FilePath, _ identity: FileIdentity, isSettled: Bool) {
    state.withLock { state in
      state.entries[file] = Entry(identity: identity, digest: digest, isSettled: isSettled)
      if isSettled { state.isChanged = true }
    }
  }

  /// Keeps what is new for the next run, by renaming. That it cannot be kept is no error.
  public func write() {
    guard let path else { return }
    let text: String? = state.withLock { state in
      guard state.isChanged else { return nil }
      state.isChanged = false
      var entries = state.entries.filter(\.value.isSettled)
      let unusedCount = entries.values.count { !$0.isUsed }
      if unusedCount > Self.maximumUnusedCount { entries = entries.filter(\.value.isUsed) }
      let lines = entries.map { Self.line($0.key, $0.value) }.sorted().joined()
      return lines + ContentDigest(of: Array(lines.utf8)).sha256 + "\n"
    }
    guard let text else { return }
    let temporary = FilePath("\(path).new")
    try? path.removingLastComponent().makeDirectories()
    guard (try? temporary.write(Array(text.utf8))) != nil else { return }
    try? temporary.rename(to: path)
  }

  /// The lines of a file that is whole, without the last one.
  private static func lines(of bytes: [UInt8]) -> [ArraySlice<UInt8>] {
    let sumLength = 65
    guard bytes.count > sumLength,
      ContentDigest(of: Array(bytes.dropLast(sumLength))).sha256.utf8.elementsEqual(bytes.suffix(sumLength).dropLast())
    else { return [] }
    return bytes.dropLast(sumLength).split(separator: UInt8(ascii: "\n"))
  }

  private static func line(_ file: FilePath, _ entry: Entry) -> String {
    let identity = entry.identity
    // A name with a line break would be two lines.
    if file.string.utf8.contains(UInt8(ascii: "\n")) { return "" }
    return "\(entry.digest.sha256) \(entry.digest.byteCount) \(identity.device) \(identity.inode) "
      + "\(identity.modificationTime) \(identity.changeTime) \(file)\n"
  }

  private static func entry(of line: ArraySlice<UInt8>) -> (FilePath, Entry)? {
    let words = line.split(separator: UInt8(ascii: " "), maxSplits: 6).map { String(decoding: $0, as: UTF8.self) }
    guard words.count == 7, words[0].utf8.count == 64, words[0].utf8.allSatisfy(isHexadecimalDigit),
      let byteCount = UInt64(words[1]), let device = UInt64(words[2]), let inode = UInt64(words[3]),
      let modificationTime = Int64(words[4]), let changeTime = Int64(words[5])
    else { return nil }
    let identity = FileIdentity(
      device: device, inode: inode, byteCount: byteCount, modificationTime: modificationTime, changeTime: changeTime)
    let digest = ContentDigest(sha256: words[0], byteCount: byteCount)
    return (FilePath(words[6]), Entry(identity: identity, digest: digest, isUsed: false))
  }
}

/// Whether the byte is one of those that SHA-256 sums are written with.
func isHexadecimalDigit(_ byte: UInt8) -> Bool {
  (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(byte)
}
