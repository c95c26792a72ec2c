// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CCurl
import Glibc
import Synchronization
import SystemPackage

/// libcurl's multi interface on a thread of its own.
///
/// `@unchecked Sendable`: the multi handle is used by the thread alone, except for `curl_multi_wakeup`, which libcurl allows from
/// any thread while the handle lives; it lives until the thread has ended and the last reference to this object is gone.
@safe final class CurlEngine: @unchecked Sendable {
  private enum Command {
    case start(CurlTransfer)
    case cancel(CurlTransfer)
    case resume(CurlTransfer)
    case stop
  }

  private let multi: UnsafeMutableRawPointer
  private let maximumTransfersPerHost: Int
  private let inbox = Mutex<[Command]>([])

  /// libcurl's one initialisation a process; 0 when it went well.
  private static let globalResult: UInt32 = curl_global_init(Int(CURL_GLOBAL_DEFAULT)).rawValue

  init(maximumTransfersPerHost: Int) throws(RepositoryError) {
    guard Self.globalResult == 0, let multi = unsafe curl_multi_init() else {
      throw .system(operation: "start", path: "libcurl", .noMemory)
    }
    unsafe self.multi = unsafe multi
    self.maximumTransfersPerHost = maximumTransfersPerHost
    _ = unsafe ccurl_multi_set_long(multi, CURLMOPT_PIPELINING, Int(CURLPIPE_MULTIPLEX))
    _ = unsafe ccurl_multi_set_long(multi, CURLMOPT_MAX_HOST_CONNECTIONS, maximumTransfersPerHost)
    try startThread()
  }

  deinit { _ = unsafe curl_multi_cleanup(multi) }

  /// The thread holds a reference to the engine until ``stop()``.
  private func startThread() throws(RepositoryError) {
    var thread = pthread_t()
    let context = unsafe Unmanaged.passRetained(self)
    let result = unsafe pthread_create(
      &thread, nil,
      { context in
        guard let context = unsafe context else { return nil }
        unsafe Unmanaged<CurlEngine>.fromOpaque(context).takeRetainedValue().run()
        return nil
      }, context.toOpaque())
    guard result == 0 else {
      unsafe context.release()
      throw .system(operation: "pthread_create", path: "libcurl", Errno(rawValue: result))
    }
    pthread_detach(thread)
  }

  /// Ends the thread; transfers that are under way fail.
  func stop() { send(.stop) }

  /// Makes one attempt.
  ///
  /// - Parameter resumption: what to go on after; in the end, what the next attempt can go on after.
  func perform(
    _ request: TransferRequest, resuming resumption: inout TransferResumption?, into sink: any TransferSink,
    options: CurlTransport.Options
  ) async throws -> TransferResponse {
    let transfer = try CurlTransfer(request, from: resumption, sink: sink, options: options)
    defer { resumption = transfer.resumption }
    return try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { continuation in
        transfer.begin(continuation) { [weak self, weak transfer] in
          if let self, let transfer { self.send(.resume(transfer)) }
        }
        send(.start(transfer))
      }
    } onCancel: {
      transfer.markCancelled()
      send(.cancel(transfer))
    }
  }

  private func send(_ command: Command) {
    inbox.withLock { $0.append(command) }
    _ = unsafe curl_multi_wakeup(multi)
  }

  // MARK: The thread

  private func run() {
    var queue = TransferQueue(limitPerHost: maximumTransfersPerHost)
    while true {
      let commands = inbox.withLock { inbox in
        defer { inbox.removeAll() }
        return inbox
      }
      for command in commands {
        switch command {
        case .start(let transfer): queue.waiting.append(transfer)
        case .cancel(let transfer):
          if let transfer = queue.remove(transfer) { end(transfer, .failure(CancellationError())) }
        case .resume(let transfer): if queue.isActive(transfer) { transfer.resume() }
        case .stop:
          for transfer in queue.removeAll() { end(transfer, .failure(CancellationError())) }
          return
        }
      }
      while let transfer = queue.next() { start(transfer, &queue) }
      var running: Int32 = 0
      _ = unsafe curl_multi_perform(multi, &running)
      while let (transfer, code) = nextFinished(&queue) { end(transfer, transfer.result(of: code)) }
      // What ended made room: start the next before waiting.
      let hasRoom = queue.hasRoom
      let hasCommands = inbox.withLock { !$0.isEmpty }
      // Woken by sockets, by libcurl's own timers and by commands.
      if !hasRoom && !hasCommands { _ = unsafe curl_multi_poll(multi, nil, 0, 60_000, nil) }
    }
  }

  private func start(_ transfer: CurlTransfer, _ queue: inout TransferQueue) {
    guard !transfer.isCancelled else { return transfer.complete(.failure(CancellationError())) }
    let code = unsafe curl_multi_add_handle(multi, transfer.easy)
    guard code == CURLM_OK else { return transfer.complete(.failure(transfer.startFailure)) }
    queue.activate(transfer)
  }

  private func nextFinished(_ queue: inout TransferQueue) -> (CurlTransfer, CURLcode)? {
    var left: Int32 = 0
    while let message = unsafe curl_multi_info_read(multi, &left) {
      guard unsafe message.pointee.msg == CURLMSG_DONE, let easy = unsafe message.pointee.easy_handle else { continue }
      let code = unsafe ccurl_message_result(message)
      if let transfer = unsafe queue.remove(easy) { return (transfer, code) }
    }
    return nil
  }

  private func end(_ transfer: CurlTransfer, _ result: Result<TransferResponse, any Error>) {
    _ = unsafe curl_multi_remove_handle(multi, transfer.easy)
    transfer.complete(result)
  }
}

/// Which transfers are under way and which wait for their host.
///
/// libcurl would hold back surplus transfers of a host, too, but their connect time would run meanwhile.
@safe private struct TransferQueue {
  var waiting: [CurlTransfer] = []
  private var active: [UnsafeMutableRawPointer: CurlTransfer] = unsafe [:]
  private var countByHost: [Substring: Int] = [:]
  private let limitPerHost: Int

  init(limitPerHost: Int) { self.limitPerHost = limitPerHost }

  private func mayStart(_ transfer: CurlTransfer) -> Bool { countByHost[transfer.host, default: 0] < limitPerHost }

  var hasRoom: Bool { waiting.contains(where: mayStart) }

  func isActive(_ transfer: CurlTransfer) -> Bool { unsafe active[transfer.easy] === transfer }

  /// Takes the first one that waits and whose host is not busy.
  mutating func next() -> CurlTransfer? {
    waiting.firstIndex(where: mayStart).map { waiting.remove(at: $0) }
  }

  mutating func activate(_ transfer: CurlTransfer) {
    unsafe active[transfer.easy] = transfer
    countByHost[transfer.host, default: 0] += 1
  }

  mutating func remove(_ easy: UnsafeMutableRawPointer) -> CurlTransfer? {
    guard let transfer = unsafe active.removeValue(forKey: easy) else { return nil }
    let count = countByHost[transfer.host, default: 1] - 1
    countByHost[transfer.host] = count == 0 ? nil : count
    return transfer
  }

  mutating func remove(_ transfer: CurlTransfer) -> CurlTransfer? {
    if isActive(transfer) { return unsafe remove(transfer.easy) }
    return waiting.firstIndex { $0 === transfer }.map { waiting.remove(at: $0) }
  }

  mutating func removeAll() -> [CurlTransfer] {
    defer {
      unsafe active.removeAll()
      waiting.removeAll()
      countByHost.removeAll()
    }
    return unsafe Array(active.values) + waiting
  }
}
