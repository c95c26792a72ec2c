// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import DistriBuild

@Suite struct UpstreamVersionTests {
  private func newest(_ texts: [String], _ present: String, _ forces: Bool = false) -> String? {
    UpstreamVersion.newest(of: texts, after: present, forcesSemantic: forces)
  }

  /// Each list from old to new.
  @Test(arguments: [
    ["1.9", "1.10", "1.10.1", "2"], ["9.1p1", "9.2p1", "9.2p2", "10.0p1"], ["1.0.1", "1.0.1a", "1.0.1k", "1.0.2"],
    ["3.3", "3.3a", "3.4"], ["7.2-rc1", "7.2-rc2"], ["20230101", "20240101"], ["2.1.11-stable", "2.1.12-stable"],
    ["v0.9.9", "v0.10.0"],
    ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0"],
    ["3.12.0a1", "3.12.0b1", "3.12.0rc1", "3.12.0rc2", "3.12.0"], ["1.2~rc1", "1.2"],
    ["99999999999999999999.1", "99999999999999999999.2"],
    ["v0.0.0-20180314180146-1d60e4601c6f", "v0.0.0-20190314180146-0d60e4601c6f", "v0.1.0"],
  ])
  func `later versions are newer`(versions: [String]) {
    for (index, older) in versions.enumerated() {
      for newer in versions[(index + 1)...] {
        #expect(newest([newer], older) == newer, "\(older) \(newer)")
        #expect(newest([older], newer) == nil, "\(newer) \(older)")
      }
      #expect(newest([older], older) == nil)
      #expect(newest(versions.shuffled(), older) == (index == versions.count - 1 ? nil : versions.last))
    }
  }

  @Test func `what comes before a release is taken where the present one is such, too`() {
    let versions = ["7.3", "8.0-rc1", "8.0beta2", "9-SNAPSHOT", "7.4.dev3"]
    #expect(newest(versions, "7.2") == "7.3")
    #expect(newest(versions, "7.2-rc1") == "9-SNAPSHOT")
    #expect(newest(["2.2.1-alpha-dev", "2.1.12-stable"], "2.1.11-stable") == "2.1.12-stable")
    #expect(newest(["1.0.0-rc9", "1.0.0-rc10", "1.0.0-rc93"], "1.0.0-rc9") == "1.0.0-rc93")
  }

  @Test func `what is no semantic version is passed over where these are asked for`() {
    #expect(newest(["1.1.90.1", "1.14", "1.13.2"], "1.13.1", true) == "1.14")
    #expect(newest(["1.20.99.901", "1.20.9"], "1.20.8", true) == "1.20.9")
    #expect(newest(["2.0.0-rc.1", "1.5.0+build7"], "1.4.0", true) == "1.5.0+build7")
    #expect(newest(["01.5.0", "1.4.0.0", "x", ""], "1.4.0", true) == nil)
  }

  @Test func `words behind a version and dates among releases are other things`() {
    let present = UpstreamVersion("7.2")
    for text in ["7.3", "8", "7.2.1", "7.3a", "8.0-rc1", "7.2p2"] { #expect(UpstreamVersion(text).resembles(present), "\(text)") }
    for text in ["7.2-docs", "7.3.tar.gz", "8.0-win", "20010101"] { #expect(!UpstreamVersion(text).resembles(present), "\(text)") }
    #expect(UpstreamVersion("20240101").resembles(UpstreamVersion("20230101")))
    #expect(UpstreamVersion("2.1.13-stable").resembles(UpstreamVersion("2.1.12-stable")))
  }

  @Test(arguments: [
    ["1.0~rc1-1", "1.0-1", "1.0-1+b1", "1.0-2", "1.0+dfsg-1", "1.1-1", "1:0.5-1"], ["9", "10"], ["1.0a", "1.0b", "1.0.1"],
    ["1.4.1-2", "1.4.1-10"],
  ])
  func `versions of Debian are in Debian's order`(versions: [String]) {
    for (index, older) in versions.enumerated() {
      for newer in versions[(index + 1)...] {
        #expect(DebianVersion(older) < DebianVersion(newer) && !(DebianVersion(newer) < DebianVersion(older)), "\(older) \(newer)")
      }
      #expect(DebianVersion(older) == DebianVersion(older))
    }
  }
}
