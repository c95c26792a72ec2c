// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Dispatch
import Glibc
import SwiftProtobuf
import Synchronization
import SystemPackage

@testable import DistriBuild
@testable import DistriRemote
@testable import DistriStore

/// What a server of the Remote Execution API is asked about here.
enum RemoteSample {
  static let contents = Array("contents\n".utf8)
  static let digest = ContentDigest(of: contents)
  static let package = PackageID(checkedName: "sample", architecture: .amd64, version: "1-1")
  static let order = ActionOrder(
    definition: "sample", architecture: .amd64, inputDigest: "sha256-" + String(repeating: "0a", count: 32), choices: [:])

  /// The action of a small package, with one output of each kind.
  static func action() throws -> Action {
    Action(
      packages: [package], dependencies: [], order: order, inputs: try ActionInputs([], of: package), arguments: ["tool"],
      environment: [:], platform: [:],
      outputs: try [
        ("out/build.log", .log), ("out/debug/\(package).squashfs", .image(package, .debug)),
        ("out/\(package).meta.textproto", .metadata(package)), ("out/\(package).spdx.json", .billOfMaterials(package)),
        ("out/\(package).squashfs", .image(package, .packages)),
      ].map { ActionOutput(path: try TreePath(parsing: $0), role: $1) })
  }
}

/// The bytes as each of the messages that a server answers with: what is taken of them is what was asked for, and errors can be shown.
func readAnswers(_ bytes: [UInt8]) {
  guard let endpoint = try? RemoteEndpoint(parsing: "grpc://127.0.0.1:1"), let action = try? RemoteSample.action() else {
    preconditionFailure("the sample is none")
  }
  let digest = RemoteSample.digest
  func takeResult(_ message: REAPI_ActionResult) throws {
    let result = try ActionResult(message, of: action, from: endpoint, call: "Execute")
    precondition(result.files.keys.allSatisfy { path in action.outputs.contains { $0.path == path } })
    precondition(result.files.values.allSatisfy { $0.sha256.utf8.count == 64 && $0.byteCount <= Int64.max })
  }
  check {
    let capabilities = try Capabilities(try REAPI_ServerCapabilities(serializedBytes: bytes), of: endpoint)
    precondition((1...Connection.messageLimit).contains(capabilities.batchLimit))
  }
  check { try takeResult(try REAPI_ActionResult(serializedBytes: bytes)) }
  check {
    let update = try Google_Longrunning_Operation(serializedBytes: bytes)
    let progress = ExecutionProgress()
    var reports = 0
    // Who repeats himself is not heard.
    for _ in 0..<2 where try progress.take(update, from: endpoint, report: { _ in reports += 1 }) == nil {}
    precondition(reports <= 1 && progress.state.withLock { $0.operation.utf8.count <= 4096 })
  }
  check {
    let update = try Google_Longrunning_Operation(serializedBytes: bytes)
    if let response = try ExecutionProgress().take(update, from: endpoint, report: { _ in }) { try takeResult(response.result) }
  }
  check {
    let answer = try REAPI_FindMissingBlobsResponse(serializedBytes: bytes)
    let missing = try answer.missing(of: [digest], from: endpoint)
    precondition(missing.isSubset(of: [digest]))
  }
  check {
    let blob = Blob(digest: digest, content: .bytes(RemoteSample.contents))
    let answer = try REAPI_BatchUpdateBlobsResponse(serializedBytes: bytes)
    try answer.check([blob], from: endpoint)
    precondition(answer.responses.contains { $0.digest.contentDigest == digest && $0.status.code == 0 })
  }
  check {
    let answer = try REAPI_BatchReadBlobsResponse(serializedBytes: bytes)
    let contents = try answer.contents(of: digest, from: endpoint)
    precondition(contents == RemoteSample.contents)
  }
  // Of files that do not begin as zstd's do, nothing comes.
  if bytes.starts(with: [0x28, 0xb5, 0x2f, 0xfd]) { waitFor { try await takeStream(bytes) } }
}

/// What a body throws can be shown on a terminal, whatever it is about.
private func check(_ body: () throws -> Void) {
  do {
    try body()
  } catch {
    let text = "\((error as? CallError)?.remoteError ?? error)"
    if error is RemoteError || error is CallError {
      precondition(text.utf8.count < 10_000 && !text.unicodeScalars.contains { $0.value < 32 && $0 != "\n" || $0 == "\u{9b}" })
    }
  }
}

/// The bytes as a file that comes compressed: no more comes out than the digest says.
private func takeStream(_ bytes: [UInt8]) async throws {
  let path = FilePath("/dev/shm/distri-fuzz-stream-\(getpid())")
  let digest = ContentDigest(sha256: RemoteSample.digest.sha256, byteCount: 100_000)
  let (file, compressed) = (try DownloadedFile(for: path, digest: digest), try DownloadedFile(for: path, digest: nil))
  defer {
    compressed.discard()
    file.discard()
  }
  try compressed.append(bytes)
  try? await compressed.decompress(into: file)
  precondition(file.byteCount <= digest.byteCount)
  let isRight = try file.finish()
  precondition(!isRight)
}

/// The bytes as the files that an action has made: a byte that says what is taken and what is a lie, then metadata up to a zero, and everything else.
/// Metadata that cannot be read are tried for one in four only: files take their time.
func takeFiles(_ bytes: [UInt8]) {
  let rest = bytes.dropFirst()
  let end = rest.firstIndex(of: 0) ?? rest.endIndex
  let (metadata, other) = (Array(rest[..<end]), Array(rest[end...]))
  let flags = bytes.first ?? 0
  guard flags & 48 == 0 || (try? PackageMetadata(textproto: metadata, subject: "fuzz")) != nil else { return }
  guard let action = try? RemoteSample.action() else { preconditionFailure("the sample is none") }
  var storage = Files(blobs: [:], lies: flags & 8 != 0)
  var result = ActionResult(files: [:])
  for output in action.outputs {
    let isMetadata = if case .metadata = output.role { true } else { false }
    let contents = isMetadata ? metadata : other
    let digest = ContentDigest(of: contents)
    storage.blobs[digest] = contents
    result.files[output.path] = digest
  }
  let folder = FilePath("/dev/shm/distri-fuzz-result-\(getpid())")
  waitFor { [storage, result] in
    try folder.removeAll()
    for name in ["store", "work"] { try folder.appending(name).makeDirectories() }
    let packages = ActionPackages(store: try LocalStore(path: folder.appending("store")), digests: FileDigests())
    var intake = ActionIntake(packages: packages, work: folder.appending("work"))
    intake.extent = ActionIntake.Extent.allCases[Int(flags & 3) % 3]
    let taken = try? await intake.take(result, of: action, from: storage)
    precondition(taken == nil || taken == [RemoteSample.package])
    precondition(!storage.lies || taken == nil)
    // Whatever came: it is in its place, all of it or nothing.
    let names = try folder.appending("store").entries().filter { !$0.hasPrefix(".") }
    let isThere = taken != nil && intake.extent != .none
    precondition(names.allSatisfy { $0.hasPrefix("sample-amd64") || $0 == "debug" || $0 == "src" }, "\(names)")
    precondition(names.contains("sample-amd64-1-1.squashfs") == isThere, "\(names)")
    let (all, works) = (try folder.entries(), try folder.appending("work").entries())
    precondition(Set(all) == ["store", "work"] && works.allSatisfy { $0 == "sample" }, "\(all), \(works)")
    try folder.removeAll()
  }
}

/// What a server has, or says that it has.
private struct Files: ContentFetcher {
  var blobs: [ContentDigest: [UInt8]]
  let lies: Bool

  func fetch(_ digest: ContentDigest, to path: FilePath) async throws {
    guard let bytes = blobs[digest] else { throw Errno.noSuchFileOrDirectory }
    let file = try FileDescriptor.open(path, .writeOnly, options: [.create, .exclusiveCreate], permissions: .ownerReadWrite)
    _ = try file.closeAfter { try file.writeAll(lies ? bytes + [0] : bytes) }
  }
}

extension FilePath {
  fileprivate func entries() throws -> [String] {
    guard let directory = opendir(string) else { throw Errno(rawValue: errno) }
    defer { closedir(directory) }
    var result: [String] = []
    while let entry = readdir(directory) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
        pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if name != ".", name != ".." { result.append(name) }
    }
    return result
  }
}

/// Runs what has to wait to its end. It is not to throw what it is not expected to.
private func waitFor(_ body: @escaping @Sendable () async throws -> Void) {
  let failure = Mutex<(any Error)?>(nil)
  let done = DispatchSemaphore(value: 0)
  Task {
    do { try await body() } catch { failure.withLock { $0 = error } }
    done.signal()
  }
  done.wait()
  if let error = failure.withLock({ $0 }) { preconditionFailure("\(error)") }
}

/// Real messages to start from.
func writeRemoteSeeds(of target: String, write: (_ bytes: [UInt8], _ name: String) throws -> Void) throws {
  let digest = REAPI_Digest(RemoteSample.digest)
  let outputs = try RemoteSample.action().outputs
  let result = REAPI_ActionResult.with { result in
    result.outputFiles = outputs.map { output in
      .with { ($0.path, $0.digest) = (output.path.description, digest) }
    }
    result.stdoutDigest = digest
    result.executionMetadata.worker = "worker"
  }
  if target == "remote-result" {
    let metadata = PackageMetadata(
      sourcePackage: "sample", version: RemoteSample.package.version, inputDigest: RemoteSample.order.inputDigest)
    for flags in [0, 1, 2, 8] as [UInt8] {
      try write([flags] + Array(metadata.textproto.utf8) + [0] + Array("log".utf8), "\(flags)")
    }
    return
  }
  let capabilities = REAPI_ServerCapabilities.with {
    $0.cacheCapabilities.digestFunctions = [.sha1, .sha256]
    $0.cacheCapabilities.maxBatchTotalSizeBytes = 100_000
    $0.cacheCapabilities.supportedCompressors = [.zstd]
    $0.executionCapabilities.digestFunction = .sha256
    $0.executionCapabilities.execEnabled = true
    $0.lowApiVersion.major = 2
    $0.highApiVersion.major = 2
  }
  try write(try capabilities.serializedBytes(), "capabilities")
  try write(try result.serializedBytes(), "result")
  for (name, stage) in [("queued", REAPI_ExecutionStage.Value.queued), ("executing", .executing), ("done", .completed)] {
    var operation = Google_Longrunning_Operation.with { $0.name = "operations/1" }
    operation.metadata = try .init(message: REAPI_ExecuteOperationMetadata.with { $0.stage = stage })
    operation.done = stage == .completed
    if operation.done { operation.response = try .init(message: REAPI_ExecuteResponse.with { $0.result = result }) }
    try write(try operation.serializedBytes(), name)
  }
  try write(
    try Google_Longrunning_Operation.with { operation in
      operation.done = true
      operation.error = .with { ($0.code, $0.message) = (9, "a blob is missing") }
    }.serializedBytes(), "failed")
  try write(try REAPI_FindMissingBlobsResponse.with { $0.missingBlobDigests = [digest] }.serializedBytes(), "missing")
  try write(try REAPI_BatchUpdateBlobsResponse.with { $0.responses = [.with { $0.digest = digest }] }.serializedBytes(), "updated")
  let read = REAPI_BatchReadBlobsResponse.with { answer in
    answer.responses = [.with { ($0.digest, $0.data) = (digest, .init(RemoteSample.contents)) }]
  }
  try write(try read.serializedBytes(), "read")
  if let frame = FrameCompressor(level: 3, byteCount: 1 << 16)?.frame(of: Array(repeating: 7, count: 1 << 16)) {
    try write(frame + frame, "frames")
  }
}
