// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ToolSupport

// Not asynchronous: `mount` forks, which only a process of one thread can.
switch MountHelper.translate(CommandLine.arguments) {
case .notHelper: ToolMain.runSynchronously(DistriFuse.self)
case .command(let arguments): ToolMain.runSynchronously(DistriFuse.self, arguments: arguments)
case .nothing: break
case .failure(let error): ToolMain.end(DistriFuse.self, with: error)
}
