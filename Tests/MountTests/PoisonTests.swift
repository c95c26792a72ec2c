// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriFS
import FSTestSupport
import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import ViewSupervisor

extension MountTests {
  @Suite struct PoisonTests {
    @Test func `a request that kills its servers is answered EIO, and no other`() async throws {
      let store = try TestStore()
      let running = Task { try await ToolProcess.run("poison-mount", [store.mountPoint.string]) }
      #expect(try await eventually { try TreeRecord.names(in: store.mountPoint).contains("poison") })
      let root = Mount.canonical(store.mountPoint)
      let load = MountLoad(
        on: root, files: (0..<4).reduce(into: [:]) { $0["good\($1)"] = Array(repeating: UInt8($1), count: 300_000) })
      #expect(try await eventually { load.operationCount > 50 })
      let error = await #expect(throws: Errno.self) {
        try await onThread { try TreeRecord.bytes(of: root.appending("poison")) }
      }
      #expect(error == .ioError)
      let goal = load.operationCount + 50
      #expect(try await eventually { load.operationCount > goal })
      #expect(await load.stop().failures == [])
      try await onThread { try Mount.unmount(root, lazily: true) }
      let outcome = try await running.value
      // The kernel may ask twice: as it reads ahead, and for the reader.
      #expect(["3 1\n", "6 2\n"].contains(outcome.output), "\(outcome)")
    }

    @Test func `many thousand descriptors are kept, also when the supervisor is slow`() async throws {
      let limit = ProcessCalls.raiseDescriptorLimit()
      let count = min(12_000, limit / 2 - 2000)
      let (ours, its) = try Channel.pair()
      let file = try FileDescriptor.open("/dev/null", .readOnly)
      let keeper = ServerKeeper(inherited: [:], channel: its)
      for number in 0..<count {
        keeper.keep(file, as: "image/\(number)")
        if number % 100 == 0 { keeper.release("image/\(number)") }
      }
      try file.close()
      let kept = try await onThread {
        var kept = KeptDescriptors(limit: count - 500)
        for _ in 0..<(count + (count + 99) / 100) {
          guard let message = try ours.receive(waiting: true) else { break }
          if message.kind == .keep { kept.keep(message.descriptors[0], as: message.text) } else { kept.release(message.text) }
        }
        return kept
      }
      #expect(kept.byName.count == count - 500)
      // What was refused is not there to be released.
      var (present, refused) = (0, 0)
      for number in 0..<count {
        if present == count - 500 { refused += 1 } else { present += number % 100 == 0 ? 0 : 1 }
      }
      #expect(kept.refusedCount == refused)
      #expect(kept.byName["image/100"] == nil && kept.byName["image/101"] != nil)
      // And handed on, as to a newer program.
      var next = KeptDescriptors(limit: count)
      for message in kept.messages.prefix(20) {
        try ours.send(message)
        next.take(try #require(try its.receive(waiting: true)))
      }
      #expect(next.byName.count == 20 * Channel.descriptorLimit)
      for descriptor in [kept, next].flatMap(\.byName.values) { try descriptor.close() }
      ours.close()
      // Nobody listens: neither an error nor a wait.
      keeper.release("image/1")
      its.close()
    }

    @Test func `servers are replaced at once, but not without end`() {
      var backoff = Backoff(now: 0)
      // Killed every 50 ms: never a wait.
      for number in 0..<1000 { #expect(backoff.delay(now: Int64(number) * 50, hadServed: true) == 0) }
      // As fast as they start: some at once, then twenty a second.
      var now: Int64 = 50_000
      let delays = (0..<200).map { _ in
        let delay = backoff.delay(now: now, hadServed: true)
        now += delay + 1
        return delay
      }
      #expect(delays.prefix(30).allSatisfy { $0 == 0 })
      #expect(delays.suffix(100).filter { $0 > 0 }.count > 40)
      // None that serves: ever slower.
      var fresh = Backoff(now: 0)
      let failures = (0..<20).map { _ in fresh.delay(now: 0, hadServed: false) }
      #expect(failures.prefix(3).allSatisfy { $0 == 0 } && failures.last == 5000)
    }
  }
}
