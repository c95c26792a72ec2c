// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriBuild
import DistriRepo

/// Brings pages by the transport that also brings sources: a proxy of the environment is used, redirects stay within HTTP.
struct TransportPages: PageFetcher {
  private let transport: StandardTransport

  init() throws {
    var options = CurlTransport.Options()
    options.usesProxyOfEnvironment = true
    // A page that is not there is named, and the others are looked at.
    options.maximumAttempts = 2
    transport = try StandardTransport(options: options)
  }

  func page(_ url: String, maximumByteCount: Int) async throws -> FetchedPage {
    let page = try await transport.page(of: url, maximumByteCount: UInt64(maximumByteCount), timeLimit: .seconds(300))
    return FetchedPage(url: page.url, bytes: page.bytes)
  }
}
