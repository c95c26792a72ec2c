// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriRepo
import DistriStore
import Foundation
import SystemPackage
import TestSupport
import Testing

/// Many `distri-fetch` at the same time on one machine, each killed at some moment.
@Suite struct GenerationToolKillTests {
  @Test(.timeLimit(.minutes(3))) func `whatever is killed when, the machine is whole and the way back is open`() async throws {
    // In memory: what a kill leaves does not depend on the disk, and far more happens in the same time.
    let base = FileManager.default.isWritableFile(atPath: "/dev/shm") ? "/dev/shm" : NSTemporaryDirectory()
    let machine = FilePath(base).appending("distri-test-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(atPath: machine.string) }
    var fixtures: [PackageFixture] = []
    for number in 1...6 {
      fixtures.append(try PackageFixture("lib-amd64-1-\(number)", byteCount: 4000))
      for name in ["a", "b", "c"] {
        fixtures.append(
          try PackageFixture("\(name)-amd64-1-\(number)", needs: ["lib-amd64-1-\((number + 1) / 2)"], byteCount: 4000))
      }
    }
    let scene = try await Scene(fixtures)
    var random: UInt64 = 7
    func next(_ limit: UInt64) -> UInt64 {
      random = random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return (random >> 33) % limit
    }
    func command() -> [String] {
      let name = ["a", "b", "c"][Int(next(3))]
      let place = ["--root", machine.string]
      let repository = ["--repo", scene.repository.string, "--insecure-unsigned"]
      switch next(9) {
      case 0...3: return ["install", "\(name)-amd64-1-\(next(6) + 1)"] + place + repository
      case 4: return ["update"] + place + repository
      case 5: return ["remove", name] + place
      case 6: return ["rollback"] + place
      case 7: return ["pin", name] + place
      default: return ["gc", "--keep", "\(next(3) + 1)", "--keep-days", "0"] + place
      }
    }
    let end = ContinuousClock.now + .seconds(15)
    var (started, killed) = (0, 0)
    while ContinuousClock.now < end {
      let children = try (0..<3).map { _ in try spawn("distri-fetch", command()) }
      started += 3
      for child in children {
        // Some live to their end.
        if next(3) > 0 {
          // Not to wait for something: the moment of the kill is to be any.
          try await Task.sleep(for: .milliseconds(next(60)))
          kill(child, SIGKILL)
        }
        let status = waitFor(child)
        if status == SIGKILL { killed += 1 }
        // Refusals are well: what is removed may not be installed. Crashes and damage are not.
        #expect([0, 64 << 8, 66 << 8, 75 << 8, SIGKILL].contains(status), "\(status)")
      }
    }
    let store = try LocalStore(path: machine.appending("roimg"))
    try await store.recover()
    #expect(try Verifier(store).findings() == [])
    for package in try store.packages() {
      try Verifier(store).verify(package)
      let original = try contents(of: scene.store.path.appending(package.imageFileName))
      #expect(try contents(of: store.path.appending(package.imageFileName)) == original)
    }
    for number in try store.generations.numbers() { #expect(try await store.switchGeneration(to: number).number == number) }
    #expect(try names(in: store.path.appending(".staging")).filter { $0 != "partial" } == ["lock"])
    #expect(killed >= 30 && started >= 100, "\(killed) of \(started) killed")
    #expect(try #require(try store.generations.numbers().last) >= 5)
  }
}
