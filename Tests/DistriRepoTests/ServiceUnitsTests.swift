// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriRepo
import DistriStore
import TestSupport
import Testing

/// What systemd has to do; that it does it is tested on a machine that boots (Tests/Images).
@Suite struct ServiceUnitsTests {
  private func package(_ name: String, _ units: [String]) throws -> PackageFixture {
    var fixture = try PackageFixture(name, byteCount: 100)
    for unit in units { fixture.files["out/lib/systemd/system/\(unit)"] = Array("[Service]\n".utf8) }
    return fixture
  }

  @Test func `only services of replaced packages are started anew, and none that sessions hang on`() async throws {
    let folder = try TemporaryDirectory()
    let units = ["web.service", "web.socket", "worker@.service", "dbus.service", "systemd-logind.service"]
    let store = try await LocalStore.make(
      at: folder.path.appending("store"),
      [
        try package("web-amd64-1-1", units), try package("web-amd64-2-2", units), try package("new-amd64-1-1", ["new.service"]),
        try package("plain-amd64-1-1", []),
      ])
    let (old, web) = (try PackageID(parsing: "web-amd64-1-1"), try PackageID(parsing: "web-amd64-2-2"))
    let new = try PackageID(parsing: "new-amd64-1-1"), plain = try PackageID(parsing: "plain-amd64-1-1")

    let update = try ServiceUnits(added: [new, plain], removed: [], replacements: [web], in: store)
    #expect(update.needsReload && update.services == ["web.service"])
    #expect(update.files["new.service"] == new && update.files["web.socket"] == web)
    // What is removed is not stopped: whoever removes it may still need it until then.
    let removal = try ServiceUnits(added: [], removed: [old], replacements: [], in: store)
    #expect(removal.needsReload && removal.services.isEmpty && removal.files.isEmpty)
    let nothing = try ServiceUnits(added: [plain], removed: [plain], replacements: [], in: store)
    #expect(!nothing.needsReload && nothing.services.isEmpty)
    // The image of one that went may have been collected.
    let gone = try PackageID(parsing: "gone-amd64-1-1")
    #expect(try !ServiceUnits(added: [], removed: [gone], replacements: [], in: store).needsReload)
    #expect(throws: StoreError.self) { try ServiceUnits(added: [gone], removed: [], replacements: [], in: store) }
  }
}
